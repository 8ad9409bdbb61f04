// Cancel, retry, send now, settle: for one message, the selected ones, or all that match the filter.
import { get, manages, post } from "./api.js";
import { asked, messageOf, toast } from "./dialogs.js";
import { count, h, plural } from "./dom.js";
import { settleable, settlementFields } from "./settling.js";

/**
 * @typedef Action
 * @property {string} title
 * @property {string} past what a message is afterwards: "2 messages are cancelled"
 * @property {string} can what a message that allows it can be: "can be cancelled"
 * @property {string[]} from the states that allow it
 * @property {string} one what happens to one message
 * @property {string} many what happens to several
 * @property {boolean} [danger]
 * @property {(message: Message) => boolean} [allows] where that does not depend on the state alone
 * @property {() => HTMLElement[]} [fields] what the question asks for: the body of the call
 */

const WAITING = ["scheduled", "queued", "deferred"];
const RETRYABLE = ["failed", "expired", "cancelled", "held"];
const AT_A_TIME = 6; // requests

/** @type {Record<string, Action>} by the last word of the call's path */
export const ACTIONS = {
  "send-now": {
    title: "Send now",
    past: "due now",
    can: "sent now",
    from: WAITING,
    one: "The message is sent at once, before its time.",
    many: "The messages are sent at once, before their time.",
  },
  retry: {
    title: "Retry",
    past: "queued again",
    can: "retried",
    from: RETRYABLE,
    one: "The message is sent again to the recipients who do not have it.",
    many: "The messages are sent again to the recipients who do not have them.",
    allows: ({ status, partial }) => partial || RETRYABLE.includes(status),
  },
  settle: {
    title: "Settle",
    past: "settled",
    can: "settled",
    from: ["held"],
    one: "If you know what became of the message, say so. Nothing more is sent.",
    many: "If you know what became of the messages, say so. Nothing more is sent.",
    allows: settleable,
    fields: settlementFields,
  },
  cancel: {
    title: "Cancel",
    past: "cancelled",
    can: "cancelled",
    from: [...WAITING, "held"],
    one: "The message will not be sent.",
    many: "The messages will not be sent.",
    danger: true,
  },
};

/** @type {(name: string, message: Message) => boolean} */
export function allows(name, message) {
  const { from, allows } = ACTIONS[name];
  return allows ? allows(message) : from.includes(message.status);
}

/** @type {(message: Message) => string[]} */
export const allowedFor = (message) => (manages ? Object.keys(ACTIONS).filter((name) => allows(name, message)) : []);

// A button for each action that the state of the message allows.
export function actionButtons(/** @type {Message} */ message, /** @type {Refresh} */ refresh) {
  return allowedFor(message).map((name) => {
    const act = () => actOnSelected(name, [message], refresh);
    return actionButton(name, ACTIONS[name].title, act);
  });
}

/** @type {(name: string, words: string, act: () => unknown, small?: boolean) => HTMLButtonElement} */
export function actionButton(name, words, act, small = false) {
  const kinds = [ACTIONS[name].danger && "danger", small && "small"].filter(Boolean).join(" ");
  return h("button", { type: "button", class: kinds, "data-action": name, onclick: act }, words);
}

/** @type {(name: string, messages: Message[], refresh: Refresh) => Promise<void>} */
export async function actOnSelected(name, messages, refresh) {
  const able = messages.filter((message) => allows(name, message));
  if (able.length === 0) {
    toast(`None of the selected messages can be ${ACTIONS[name].can}. ${onlyThose(name)}`, { bad: true });
    return;
  }
  const answer = await asked(questionForSelected(name, able.length, messages.length - able.length));
  if (!answer) return;
  const refusals = await eachInTurn(able, (message) => post(`/v1/messages/${message.id}/${name}`, body(answer)));
  report(name, able.length - refusals.length, refusals);
  await refresh();
}

/**
 * For all that match. They are counted first, and only messages in the counted states are changed.
 * @type {(name: string, which: URLSearchParams, refresh: Refresh) => Promise<void>}
 */
export async function actOnAll(name, which, refresh) {
  const wanted = which.get("status")?.split(",");
  const states = ACTIONS[name].from.filter((status) => !wanted || wanted.includes(status));
  const narrowed = new URLSearchParams(which);
  narrowed.set("status", states.join(","));
  const found = states.length ? await get(`/v1/messages/count?${narrowed}`) : { count: 0 };
  if (found.count === 0) {
    toast(`None of the messages that match can be ${ACTIONS[name].can}. ${onlyThose(name)}`, { bad: true });
    return;
  }
  const answer = await asked(questionForAll(name, found, states));
  if (!answer) return;
  const { count: done } = await post(`/v1/messages/${name}?${narrowed}`, body(answer));
  report(name, done, []);
  await refresh();
}

// The fields of an answer as the body of a call; without fields there is none.
function body(/** @type {FormData} */ answer) {
  const fields = Object.fromEntries(answer);
  return Object.keys(fields).length ? fields : undefined;
}

/** @type {(name: string, able: number, others: number) => import("./dialogs.js").Question} */
export function questionForSelected(name, able, others) {
  const { title, one, many, danger } = ACTIONS[name];
  const sentences = [able === 1 ? one : many];
  if (others === 1) sentences.push("1 other selected message stays as it is: its state does not allow this.");
  if (others > 1) {
    sentences.push(`${count(others)} other selected messages stay as they are: their states do not allow this.`);
  }
  return {
    title: `${title} ${plural(able, "message")}?`,
    text: sentences.join(" "),
    button: button(name, able),
    danger,
    ...asking(name),
  };
}

/**
 * `more`: counting stopped, so there are more messages than that.
 * @param {string} name
 * @param {{count: number, more?: boolean}} found
 * @param {string[]} states
 * @returns {import("./dialogs.js").Question}
 */
export function questionForAll(name, found, states) {
  const { title, one, many, danger } = ACTIONS[name];
  const number = `${found.more ? "more than " : ""}${plural(found.count, "message")}`;
  const which = `This affects every message that matches the filter and is ${listed(states, "or")}, on all pages.`;
  return {
    title: `${title} ${number}?`,
    text: `${which} ${found.count === 1 ? one : many}`,
    button: found.more ? `${title} all` : button(name, found.count),
    danger,
    ...asking(name),
  };
}

function asking(/** @type {string} */ name) {
  const fields = ACTIONS[name].fields?.();
  return fields ? { fields } : {};
}

/** @type {(name: string, number: number) => string} */
const button = (name, number) => `${ACTIONS[name].title} ${number === 1 ? "it" : `all ${count(number)}`}`;

const onlyThose = (/** @type {string} */ name) =>
  `Only messages that are ${listed(ACTIONS[name].from, "or")} can be ${ACTIONS[name].can}.`;

/** @type {(words: string[], last: string) => string} */
export const listed = (words, last) =>
  words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} ${last} ${words[words.length - 1]}`;

/** @type {(name: string, done: number, refusals: string[]) => string} */
export function outcome(name, done, refusals) {
  const sentences = [];
  if (done || !refusals.length) {
    sentences.push(`${plural(done, "message")} ${done === 1 ? "is" : "are"} ${ACTIONS[name].past}.`);
  }
  if (refusals.length)
    sentences.push(`${plural(refusals.length, "message was", "messages were")} refused: ${refusals[0]}`);
  return sentences.join(" ");
}

/** @type {(name: string, done: number, refusals: string[]) => void} */
function report(name, done, refusals) {
  toast(outcome(name, done, refusals), { bad: refusals.length > 0 });
}

/**
 * Does the work for each message, a few at a time, and returns the words of each error.
 * @type {(messages: Message[], work: (message: Message) => Promise<unknown>) => Promise<string[]>}
 */
async function eachInTurn(messages, work) {
  const waiting = [...messages];
  /** @type {string[]} */
  const refusals = [];
  const turn = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      try {
        await work(next);
      } catch (error) {
        refusals.push(messageOf(error));
      }
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, turn));
  return refusals;
}
