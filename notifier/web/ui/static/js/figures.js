// The figures on top, the workers, and whether the queue is paused.
import { base } from "./api.js";
import { $, $$, count, h, plural, say, span } from "./dom.js";

export function showFigures(stats, minutes) {
  const [before, now] = [minutes.at(-2), minutes.at(-1)];
  const part = (Date.now() - Date.parse(now.at)) / 60000;
  // The running minute is not over: it counts together with what the one before has to add.
  const rate = (name) => Math.round(now[name] + (before ? before[name] * Math.max(0, 1 - part) : 0));
  const oldest = stats.oldest_due_at ? (Date.now() - Date.parse(stats.oldest_due_at)) / 1000 : 0;
  const shown = {
    waiting: count(stats.waiting),
    flight: count(stats.workers.filter((worker) => worker.message).length),
    sent: count(rate("sent")),
    failed: count(rate("failed")),
    oldest: oldest > 0 ? span(oldest) : "–",
  };
  for (const place of $$("#figures [data-figure]")) say(place, shown[place.dataset.figure]);
  $("#figures [data-figure=failed]").classList.toggle("bad", rate("failed") > 0);
}

export function showTrouble(stats, health) {
  const words = [
    ...health.reasons,
    stats.paused ? `The queue is paused: ${plural(stats.waiting, "message")} ${stats.waiting === 1 ? "waits" : "wait"}, and nothing is sent.` : "",
  ].filter(Boolean);
  const trouble = $("#trouble");
  trouble.hidden = words.length === 0;
  say(trouble, words.join(" "));
}

export function showWorkers(workers) {
  const busy = workers.filter((worker) => worker.message);
  say($("#workers-busy"), `${busy.length} of ${workers.length} busy`);
  const list = $("#workers");
  const shown = JSON.stringify(workers);
  if (list.dataset.shown === shown) return;
  list.dataset.shown = shown;
  list.replaceChildren(...workers.map(worker));
}

function worker(each, number) {
  const name = `Worker ${number + 1}`;
  if (!each.message) return h("li", { class: "idle", title: `${name} waits for a message` }, h("span", { class: "aside" }, `${name}: idle`));
  const subject = each.subject || "(no subject)";
  const what = `${subject}, to ${plural(each.recipients, "recipient")}, by ${each.route}`;
  return h("li", { class: "busy", title: `${name}: ${what}` }, h("a", { href: `${base}/monitor/messages/${each.message}`, "aria-label": `${name}: ${what}` }, subject));
}
