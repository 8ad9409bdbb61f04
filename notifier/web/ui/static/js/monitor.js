// The monitor: figures, relays, workers and the list, kept fresh while somebody looks.
import { get, manages } from "./api.js";
import { actOnAll, actOnSelected, VERBS } from "./acts.js";
import { showMinutes, startCharts } from "./charts.js";
import { $, count, h } from "./dom.js";
import { trying } from "./asking.js";
import { showFigures, showTrouble, showWorkers } from "./figures.js";
import { filters, showCounts, showRelayNames, startFilters } from "./filters.js";
import { chosen, selectAll, selected, showList, showSelection, shows } from "./list.js";
import { follow, regularly } from "./live.js";
import { showQueueLever, showRelays } from "./relays.js";

const FIGURES = 2000; // milliseconds

async function health() {
  try {
    return await get("/readyz");
  } catch (error) {
    return { reasons: [error.message] }; // not ready: it says why with a 503
  }
}

async function showState() {
  const [stats, minutes, ready] = await Promise.all([get("/v1/stats"), showMinutes(), health()]);
  showFigures(stats, minutes);
  showTrouble(stats, ready);
  showWorkers(stats.workers);
  showQueueLever(stats, showState);
  showCounts(stats.counts);
  showRelayNames(await showRelays(showState));
}

async function refresh() {
  await Promise.all([showList(), showState()]);
}

function showBulk() {
  showSelection();
  const acts = Object.entries(VERBS).map(([verb, { title, danger }]) => {
    const act = () => trying(() => (selected.size ? actOnSelected(verb, chosen(), refresh) : actOnAll(verb, filters(), refresh)));
    const words = selected.size ? `${title} ${count(selected.size)}` : `${title} all that match`;
    return h("button", { type: "button", class: danger ? "danger small" : "small", "data-verb": verb, onclick: act }, words);
  });
  const place = $("#bulk-acts");
  const shown = `${selected.size}`;
  if (place.dataset.shown !== shown) place.replaceChildren(...acts);
  place.dataset.shown = shown;
}

startCharts();
startFilters();
if (manages) {
  $("#bulk").hidden = false;
  $("#select-all").addEventListener("change", (event) => selectAll(event.target.checked));
  addEventListener("selected", showBulk);
  showBulk();
}
addEventListener("filtered", showList);
regularly(FIGURES, showState);
follow("/v1/events?digest=true", { queue: showCounts, changed: (ids) => shows(ids) && showList() }, showList);
