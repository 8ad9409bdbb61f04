// The monitor: figures, relays, workers and the list, refreshed while the page is visible.
import { ACTIONS, actionButton, actOnAll, actOnSelected } from "./actions.js";
import { get, manages } from "./api.js";
import { showCallbacks } from "./callbacks.js";
import { showMinutes, startCharts } from "./charts.js";
import { reportingErrors } from "./dialogs.js";
import { $, count, update } from "./dom.js";
import { showFigures, showTrouble, showWorkers } from "./figures.js";
import { addRelayNames, filters, showCounts, startFilters } from "./filters.js";
import { selectAll, selected, selectedMessages, showList, showSelection, shows } from "./list.js";
import { follow, regularly } from "./live.js";
import { showQueueButton, showRelays } from "./relays.js";

const TICK = 2000; // milliseconds

// One answer has everything that is shown above the list.
async function showState() {
  /** @type {Stats} */
  const stats = await get("/v1/stats");
  showFigures(stats);
  showTrouble(stats);
  showWorkers(stats.workers);
  showQueueButton(stats, showState);
  showCounts(stats.counts);
  showRelays(stats.relays, showState);
  addRelayNames(stats.relays.map(({ name }) => name));
  await Promise.all([showMinutes(stats.minutes), showCallbacks(stats.callbacks)]);
}

async function refresh() {
  await Promise.all([showList(), showState()]);
}

function showBulkActions() {
  showSelection();
  update($("#bulk-actions"), selected.size, () => Object.keys(ACTIONS).map(bulkButton));
}

function bulkButton(/** @type {string} */ name) {
  const { title } = ACTIONS[name];
  if (selected.size === 0) {
    const act = () => reportingErrors(() => actOnAll(name, filters(), refresh));
    return actionButton(name, `${title} all that match`, act, true);
  }
  const act = () => reportingErrors(() => actOnSelected(name, selectedMessages(), refresh));
  return actionButton(name, `${title} ${count(selected.size)}`, act, true);
}

startCharts();
startFilters();
if (manages) {
  const all = /** @type {HTMLInputElement} */ ($("#select-all"));
  all.addEventListener("change", () => selectAll(all.checked));
  addEventListener("selected", showBulkActions);
  showBulkActions();
}
addEventListener("filtered", showList);
regularly(TICK, showState);
follow("/v1/events?digest=true", { queue: showCounts, changed: (ids) => shows(ids) && showList() }, showList);
