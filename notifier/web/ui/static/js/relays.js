// The state of each relay and its rate; pause and resume of a relay and of the queue.
import { get, manages, post } from "./api.js";
import { confirmed, reportingErrors, toast } from "./dialogs.js";
import { $, count, duration, h, plural, setText } from "./dom.js";

/** @type {Record<string, string>} */
const STATES = { closed: "working", open: "resting", probing: "being tested", paused: "paused" };
const LONGEST_GAP = 30_000; // milliseconds between two looks that make a rate

/** @type {Map<string, {sent: number, at: number}>} what each relay had sent when we looked last */
const before = new Map();

function rate(/** @type {Relay} */ relay) {
  const now = performance.now();
  const seen = before.get(relay.name);
  before.set(relay.name, { sent: relay.sent, at: now });
  if (!seen || now - seen.at > LONGEST_GAP) return 0;
  return Math.max(0, relay.sent - seen.sent) / ((now - seen.at) / 1000);
}

/** @type {(relays: Relay[], refresh: Refresh) => void} */
export function showRelays(relays, refresh) {
  const list = $("#relays");
  const focus = document.activeElement;
  const name = focus instanceof HTMLElement && list.contains(focus) ? focus.dataset.relay : undefined;
  list.replaceChildren(...relays.map((relay) => relayItem(relay, refresh)));
  if (name !== undefined) $(`[data-relay="${CSS.escape(name)}"]`, list).focus();
}

/** @type {(relay: Relay, refresh: Refresh) => HTMLElement} */
function relayItem(relay, refresh) {
  const address = relay.host ? `${relay.host}:${relay.port}` : "";
  const details = [
    address !== relay.name ? address : "",
    relay.tls ? `TLS: ${relay.tls}` : "",
    `${count(relay.sent)} sent`,
    relay.failed ? `${count(relay.failed)} failed` : "",
    `${rate(relay).toFixed(1)}/s`,
    `${relay.busy} of ${relay.limit} in use`,
  ].filter(Boolean);
  const state = h("span", { class: `status ${relay.state}` }, STATES[relay.state] ?? relay.state);
  return h(
    "li",
    {},
    h("div", { class: "relay-name" }, state, h("b", {}, relay.name), manages ? relayButton(relay, refresh) : null),
    h("p", { class: "muted small" }, details.join(" · ")),
    relay.held_until || relay.pace ? h("p", { class: "muted small" }, pace(relay)) : null,
    relay.token ? h("p", { class: "muted small" }, token(relay.token)) : null,
    relay.pipelining_trouble ? h("p", { class: "muted small" }, pipelining(relay)) : null,
    relay.conditions && Object.keys(relay.conditions).length
      ? h("p", { class: "small" }, `accepts only ${conditions(relay.conditions)}`)
      : null,
    relay.trouble ? h("p", { class: "reply small" }, trouble(relay, relay.trouble)) : null,
  );
}

/** @type {(given: Record<string, string[]>) => string} */
function conditions(given) {
  return Object.entries(given)
    .map(([name, values]) => `${name} ${values.join(", ")}`)
    .join("; ");
}

/** @type {(relay: Relay, trouble: {name: string, text: string}) => string} */
function trouble(relay, { name, text }) {
  const wait = relay.opens_at ? (Date.parse(relay.opens_at) - Date.now()) / 1000 : 0;
  return `${name ? `${name}: ` : ""}${text}${wait > 0 ? ` (tried again in ${duration(wait)})` : ""}`;
}

/** @type {(relay: Relay) => string} */
function pace({ held_until, pace, throttled }) {
  const wait = held_until ? (Date.parse(held_until) - Date.now()) / 1000 : 0;
  const now =
    wait > 0 ? `asked again in ${duration(wait)}` : pace ? `${pace.toPrecision(2)} a second now` : "asked again now";
  return `Accepts fewer messages (${count(throttled)} refused for their rate): ${now}`;
}

/** @type {(relay: Relay) => string} */
function pipelining({ pipelining_trouble }) {
  return `Its commands wait for the reply to the message before: ${pipelining_trouble}`;
}

/** @type {(token: RelayToken) => string} */
function token({ source, good_until, trouble }) {
  const left = good_until ? (Date.parse(good_until) - Date.now()) / 1000 : 0;
  const good = left > 0 ? `good for ${duration(left)}` : "there is none";
  return `Token from ${source}: ${good}${trouble ? `; no newer one: ${trouble}` : ""}`;
}

/** @type {(relay: Relay, refresh: Refresh) => HTMLElement} */
function relayButton(relay, refresh) {
  const verb = relay.state === "paused" ? "resume" : "pause";
  const path = `/v1/relays/${encodeURIComponent(relay.name)}`;
  const act = () => pauseOrResume(verb, `relay ${relay.name}`, path, refresh);
  const label = `${TITLES[verb]} ${relay.name}`;
  const given = { type: "button", class: "small", "data-relay": relay.name, "aria-label": label, onclick: act };
  return h("button", given, TITLES[verb]);
}

/** @type {(stats: Stats, refresh: Refresh) => void} */
export function showQueueButton(stats, refresh) {
  const button = $("#queue");
  button.hidden = !manages;
  const verb = stats.paused ? "resume" : "pause";
  setText(button, `${TITLES[verb]} queue`);
  button.onclick = () => pauseOrResume(verb, "queue", "/v1/queue", refresh);
}

const TITLES = { pause: "Pause", resume: "Resume" };

/** @type {(verb: "pause" | "resume", what: string, waiting: number) => string} */
export function consequences(verb, what, waiting) {
  const waits = `${plural(waiting, "message")} ${waiting === 1 ? "waits" : "wait"} now.`;
  if (verb === "resume") return `${waits} Due messages are sent at once.`;
  const out = what === "queue" ? "nothing is sent" : "nothing is sent through it";
  const kept = `Messages are accepted and kept, and ${out} until a person resumes it, also after a restart.`;
  return `${waits} ${kept} Messages that are being sent now are finished.`;
}

/** @type {(verb: "pause" | "resume", what: string, path: string, refresh: Refresh) => Promise<void>} */
function pauseOrResume(verb, what, path, refresh) {
  return reportingErrors(async () => {
    const { waiting } = await get("/v1/stats");
    const title = `${TITLES[verb]} the ${what}?`;
    if (!(await confirmed({ title, text: consequences(verb, what, waiting), button: TITLES[verb] }))) return;
    await post(`${path}/${verb}`);
    toast(`The ${what} is ${verb}d.`);
    await refresh();
  });
}
