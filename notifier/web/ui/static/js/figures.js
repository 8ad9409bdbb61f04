// The figures on top, the workers, and whether something is wrong.
import { base } from "./api.js";
import { $, $$, count, duration, h, plural, setText, update } from "./dom.js";

/** @type {(stats: Stats, now?: number) => Record<string, string>} */
export function figures(stats, now = Date.now()) {
  const age = stats.oldest_due_at ? (now - Date.parse(stats.oldest_due_at)) / 1000 : 0;
  return {
    waiting: count(stats.waiting),
    flight: count(stats.workers.filter(({ message }) => message).length),
    sent: count(rate(stats.minutes, "sent", now)),
    failed: count(rate(stats.minutes, "failed", now)),
    bounced: count(stats.bounced),
    oldest: age > 0 ? duration(age) : "–",
  };
}

/**
 * Messages a minute. The running minute is not over, so the one before it adds the missing part.
 * @type {(minutes: Minute[], name: "sent" | "failed", now: number) => number}
 */
export function rate([before, running], name, now) {
  const missing = Math.max(0, 1 - (now - Date.parse(running.at)) / 60000);
  return Math.round(running[name] + before[name] * missing);
}

export function showFigures(/** @type {Stats} */ stats) {
  const shown = figures(stats);
  for (const place of $$("#figures [data-figure]")) setText(place, shown[place.dataset.figure ?? ""]);
  for (const name of ["failed", "bounced"]) {
    $(`#figures [data-figure=${name}]`).classList.toggle("bad", shown[name] !== "0");
  }
}

export function showTrouble(/** @type {Stats} */ { reasons, paused, waiting }) {
  const sentences = [...reasons];
  if (paused) {
    const waits = `${plural(waiting, "message")} ${waiting === 1 ? "waits" : "wait"}`;
    sentences.push(`The queue is paused: ${waits}, and nothing is sent.`);
  }
  $("#trouble").hidden = sentences.length === 0;
  setText($("#trouble"), sentences.join(" "));
}

export function showWorkers(/** @type {WorkerState[]} */ workers) {
  const busy = workers.filter(({ message }) => message);
  setText($("#workers-busy"), `${busy.length} of ${workers.length} busy`);
  update($("#workers"), workers, () => workers.map(worker));
}

/** @type {(each: WorkerState, index: number) => HTMLElement} */
function worker(each, index) {
  const name = `Worker ${index + 1}`;
  if (!each.message) {
    const idle = h("span", { class: "visually-hidden" }, `${name}: idle`);
    return h("li", { class: "idle", title: `${name} waits for a message` }, idle);
  }
  const subject = each.subject || "(no subject)";
  const what = `${name}: ${subject}, to ${plural(each.recipients, "recipient")}, by ${each.route}`;
  const link = h("a", { href: `${base}/monitor/messages/${each.message}`, "aria-label": what }, subject);
  return h("li", { class: "busy", title: what }, link);
}
