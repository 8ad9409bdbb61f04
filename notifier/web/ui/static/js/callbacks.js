// The callbacks to applications: their state, their last answers, and the actions on them.
import { base, get, manages, post } from "./api.js";
import { asked, confirmed, reportingErrors, toast } from "./dialogs.js";
import { $, count, h, plural, time, update } from "./dom.js";

/** @type {Record<Callback["state"], string>} the colours of relays' states */
const COLOURS = { working: "closed", failing: "open", paused: "paused" };

/** @type {(known: number) => Promise<void>} `known`: how many there are */
export async function showCallbacks(known) {
  $("#callbacks-panel").hidden = known === 0;
  if (known === 0) return;
  /** @type {{items: Callback[]}} */
  const { items } = await get("/v1/callbacks");
  update($("#callbacks"), items, () => items.map(item));
}

/** @type {(callback: Callback) => HTMLElement} */
function item(callback) {
  const { key, url, state, reason, last_answers } = callback;
  const badge = h("span", { class: `status ${COLOURS[state]}` }, state);
  return h(
    "li",
    {},
    h("div", { class: "relay-name" }, badge, h("b", {}, key), manages ? buttons(callback) : null),
    h("p", { class: "muted small" }, `${url} · `, ...waits(callback)),
    reason ? h("p", { class: "reply small" }, reason) : null,
    last_answers.length ? h("ol", { class: "answers small" }, last_answers.map(line)) : null,
  );
}

/** @type {(callback: Callback) => (string | Node)[]} */
function waits({ waiting, oldest_waiting_at }) {
  if (!oldest_waiting_at) return ["nothing waits"];
  return [
    `${plural(waiting, "callback")} ${waiting === 1 ? "waits" : "wait"}, the oldest since `,
    time(oldest_waiting_at),
  ];
}

/** @type {(answer: CallbackAnswer) => HTMLElement} */
function line(answer) {
  const link = h("a", { href: `${base}/monitor/messages/${answer.message}` }, answer.event);
  return h("li", {}, time(answer.answered_at), " ", link, `: ${said(answer)}`);
}

const OUTCOMES = { told: "", gone: ", it wants no callbacks", given_up: ", given up" };

/**
 * What the application said, and what follows.
 * @type {(answer: Pick<CallbackAnswer, "code" | "reply" | "tries" | "outcome">) => string}
 */
export function said({ code, reply, tries, outcome }) {
  const words = [code, reply].filter(Boolean).join(" ");
  const tried = tries > 1 ? ` (${count(tries)} tries)` : "";
  return `${words}${tried}${outcome ? OUTCOMES[outcome] : ", is tried again"}`;
}

/** @type {(callback: Callback) => HTMLElement} */
function buttons({ key, state }) {
  const button = (/** @type {string} */ title, /** @type {() => unknown} */ act) =>
    h(
      "button",
      { type: "button", class: "small", "aria-label": `${title} ${key}`, onclick: () => reportingErrors(act) },
      title,
    );
  const made = [button("Test", () => test(key)), button("Replay", () => replay(key))];
  if (state !== "working") made.push(button("Resume", () => resume(key)));
  return h("span", { class: "row" }, made);
}

const path = (/** @type {string} */ key, /** @type {string} */ verb) =>
  `/v1/callbacks/${encodeURIComponent(key)}/${verb}`;

async function test(/** @type {string} */ key) {
  const { ok, code, reply, seconds } = await post(path(key, "test"));
  const words = [code ?? "no answer", reply].filter(Boolean).join(" ");
  toast(`${key} was sent a test: ${words} (${seconds.toFixed(2)} s)`, { bad: !ok });
}

async function replay(/** @type {string} */ key) {
  const since = h("input", { type: "datetime-local", name: "since", required: true });
  const answers = await asked({
    title: `Tell ${key} again?`,
    text: "The newest event since then of each message is sent again, under the same webhook-id.",
    button: "Replay",
    fields: [h("label", { class: "asked" }, "Since", since)],
  });
  if (!answers) return;
  const from = new Date(String(answers.get("since"))).toISOString();
  const { count: found } = await post(`${path(key, "replay")}?since=${encodeURIComponent(from)}`);
  toast(`${plural(found, "callback")} ${found === 1 ? "is" : "are"} sent to ${key} again.`);
  await showCallbacks(1);
}

async function resume(/** @type {string} */ key) {
  const text = "What waits is sent now.";
  if (!(await confirmed({ title: `Resume the callbacks of ${key}?`, text, button: "Resume" }))) return;
  await post(path(key, "resume"));
  toast(`The callbacks of ${key} are resumed.`);
  await showCallbacks(1);
}
