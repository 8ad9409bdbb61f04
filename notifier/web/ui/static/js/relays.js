// Relays: how each fares and at which rate it takes messages, and the levers of those and the queue.
import { get, manages, post } from "./api.js";
import { confirmed, told, trying } from "./asking.js";
import { $, count, h, plural, say, span } from "./dom.js";

const before = new Map(); // by name: what it had sent, and when we looked

function rate(relay) {
  const now = performance.now();
  const seen = before.get(relay.name);
  before.set(relay.name, { sent: relay.sent, at: now });
  if (!seen || now - seen.at > 30000) return 0;
  return Math.max(0, relay.sent - seen.sent) / ((now - seen.at) / 1000);
}

const WORDS = { closed: "working", open: "resting", probing: "being tried", paused: "paused" };

export async function showRelays(refresh) {
  const { items } = await get("/v1/relays");
  const list = $("#relays");
  const focused = document.activeElement?.dataset?.relay;
  list.replaceChildren(...items.map((relay) => one(relay, refresh)));
  if (focused) list.querySelector(`[data-relay="${CSS.escape(focused)}"]`)?.focus();
  return items;
}

function one(relay, refresh) {
  const place = relay.host ? `${relay.host}:${relay.port}` : "";
  const details = [
    place && place !== relay.name ? place : "",
    relay.tls ? `TLS: ${relay.tls}` : "",
    `${count(relay.sent)} sent`,
    relay.failed ? `${count(relay.failed)} failed` : "",
    `${rate(relay).toFixed(1)}/s`,
    `${relay.busy} of ${relay.limit} in use`,
  ].filter(Boolean);
  return h(
    "li",
    {},
    h("div", { class: "relay-name" }, h("span", { class: `status ${relay.state}` }, WORDS[relay.state] ?? relay.state), h("b", {}, relay.name), manages ? lever(relay, refresh) : null),
    h("p", { class: "soft small" }, details.join(" · ")),
    relay.trouble ? h("p", { class: "reply small" }, trouble(relay)) : null,
  );
}

function trouble(relay) {
  const { name, text } = relay.trouble;
  const opens = relay.opens_at ? (Date.parse(relay.opens_at) - Date.now()) / 1000 : 0;
  return `${name ? `${name}: ` : ""}${text}${opens > 0 ? ` (tried again in ${span(opens)})` : ""}`;
}

function lever(relay, refresh) {
  const verb = relay.state === "paused" ? "resume" : "pause";
  const act = () => pull(verb, `relay ${relay.name}`, `/v1/relays/${encodeURIComponent(relay.name)}`, refresh);
  return h("button", { type: "button", class: "small", "data-relay": relay.name, "aria-label": `${title(verb)} ${relay.name}`, onclick: act }, title(verb));
}

export function showQueueLever(stats, refresh) {
  const button = $("#queue");
  button.hidden = !manages;
  const verb = stats.paused ? "resume" : "pause";
  say(button, `${title(verb)} queue`);
  button.onclick = () => pull(verb, "queue", "/v1/queue", refresh);
}

const title = (verb) => verb[0].toUpperCase() + verb.slice(1);

async function pull(verb, what, path, refresh) {
  const { waiting } = await get("/v1/stats");
  const waits = `${plural(waiting, "message")} ${waiting === 1 ? "waits" : "wait"} now.`;
  const words = {
    pause: `${waits} Messages are accepted and kept, also over a restart, and nothing goes out${what === "queue" ? "" : " this way"} until somebody resumes it. What is under way is finished.`,
    resume: `${waits} What is due goes out at once.`,
  };
  if (!(await confirmed({ title: `${title(verb)} the ${what}?`, words: words[verb], verb: title(verb) }))) return;
  await trying(async () => {
    await post(`${path}/${verb}`);
    told(`The ${what} is ${verb}d.`);
    await refresh();
  });
}
