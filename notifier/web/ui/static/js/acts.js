// Cancel, retry, send now: on one message, on those selected, on all that match the filter.
import { get, manages, post } from "./api.js";
import { confirmed, told } from "./asking.js";
import { h, plural } from "./dom.js";

const WAITING = ["scheduled", "queued", "deferred"];

export const VERBS = {
  "send-now": { title: "Send now", done: "due now", from: WAITING, words: "It goes out at once, before its time." },
  retry: { title: "Retry", done: "queued again", from: ["failed", "expired", "cancelled", "held"], words: "It is sent again; recipients that have it already are left out." },
  cancel: { title: "Cancel", done: "cancelled", from: [...WAITING, "held"], words: "It will not be sent.", danger: true },
};

const AT_A_TIME = 6; // requests

export const allows = (verb, message) => VERBS[verb].from.includes(message.status) || (verb === "retry" && message.partial);

// Buttons for what the state of the message allows.
export function actsOn(message, refresh) {
  if (!manages) return [];
  return Object.entries(VERBS)
    .filter(([verb]) => allows(verb, message))
    .map(([verb, { title, danger }]) => h("button", { type: "button", class: danger ? "danger" : "", "data-verb": verb, onclick: () => actOnSelected(verb, [message], refresh) }, title));
}

export async function actOnSelected(verb, messages, refresh) {
  const { title, words, danger } = VERBS[verb];
  const able = messages.filter((message) => allows(verb, message));
  if (able.length === 0) {
    told(`None of ${plural(messages.length, "message")} can be treated so: their states forbid it.`, { bad: true });
    return;
  }
  const rest = messages.length - able.length;
  const more = rest ? ` ${plural(rest, "other")} of the selection cannot, and ${rest === 1 ? "stays" : "stay"} as ${rest === 1 ? "it is" : "they are"}.` : "";
  const asked = { title: `${title} ${plural(able.length, "message")}?`, words: each(words, able.length) + more, verb: button(verb, able.length), danger };
  if (!(await confirmed(asked))) return;
  const refusals = await inTurns(able, (message) => post(`/v1/messages/${message.id}/${verb}`));
  report(verb, able.length - refusals.length, refusals);
  await refresh();
}

// All that match: counted first, and then only the states that were counted are touched.
export async function actOnAll(verb, which, refresh) {
  const { title, words, from, danger } = VERBS[verb];
  const asked = which.get("status")?.split(",");
  const states = asked ? from.filter((status) => asked.includes(status)) : from;
  const narrowed = new URLSearchParams(which);
  narrowed.set("status", states.join(","));
  const found = states.length ? await get(`/v1/messages/count?${narrowed}`) : { count: 0 };
  if (found.count === 0) {
    told(`None of the messages that match can be treated so: ${title.toLowerCase()} is for those that are ${from.join(", ")}.`, { bad: true });
    return;
  }
  const number = `${found.more ? "more than " : ""}${plural(found.count, "message")}`;
  const all = { title: `${title} ${number}?`, words: `All that match the filter and are ${states.join(", ")}, also on other pages. ${each(words, found.count)}`, verb: found.more ? `${title} all` : button(verb, found.count), danger };
  if (!(await confirmed(all))) return;
  const { count } = await post(`/v1/messages/${verb}?${narrowed}`);
  report(verb, count, []);
  await refresh();
}

const button = (verb, number) => `${VERBS[verb].title} ${number === 1 ? "it" : `all ${number}`}`;

const each = (words, number) => (number === 1 ? words : words.replace("It goes", "They go").replace("its time", "their time").replace("It is", "They are").replace("It will", "They will").replace("have it", "have theirs"));

function report(verb, done, refusals) {
  const words = done || !refusals.length ? `${plural(done, "message")} ${done === 1 ? "is" : "are"} ${VERBS[verb].done}.` : "";
  told(refusals.length ? `${words} ${plural(refusals.length, "refusal")}: ${refusals[0]}` : words, { bad: refusals.length > 0 });
}

async function inTurns(messages, work) {
  const waiting = [...messages];
  const refusals = [];
  const turn = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      try {
        await work(next);
      } catch (error) {
        refusals.push(error.message);
      }
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, turn));
  return refusals;
}
