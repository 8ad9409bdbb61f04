// One page of messages. Rows are kept by id, so that a refresh changes neither selection nor focus.
import { base, get, manages } from "./api.js";
import { messageOf } from "./dialogs.js";
import { $, badge, h, setText, subjectOf, time } from "./dom.js";
import { cursor, filters } from "./filters.js";

const LIMIT = 50;
/** @type {Map<string, {message: Message, element: HTMLElement, shown: string}>} */
const rows = new Map();
/** @type {Set<string>} ids */
export const selected = new Set();
let latest = 0; // the latest request, whose answer the list shows

export const selectedMessages = () =>
  [...rows.values()].map(({ message }) => message).filter(({ id }) => selected.has(id));
export const shows = (/** @type {string[]} */ ids) => cursor() === null || ids.some((id) => rows.has(id));

export async function showList() {
  const mine = ++latest;
  sessionStorage.setItem("monitor", location.search); // for the way back from one message
  const query = filters();
  query.set("limit", String(LIMIT));
  const from = cursor();
  if (from) query.set("cursor", from);
  let page;
  try {
    page = await get(`/v1/messages?${query}`);
  } catch (error) {
    if (mine === latest) showLine(messageOf(error), "bad");
    return;
  }
  if (mine !== latest) return; // a newer request has been made meanwhile
  show(page.items, page.next_cursor);
  showPages(page.next_cursor);
  $("#list").setAttribute("aria-busy", "false");
}

/** @type {(messages: Message[], next: string | null) => void} */
function show(messages, next) {
  const known = new Set(messages.map(({ id }) => id));
  for (const id of [...rows.keys()]) if (!known.has(id)) rows.delete(id);
  for (const id of [...selected]) if (!known.has(id)) selected.delete(id);
  const elements = messages.map(rowOf);
  const body = $("#messages");
  const there = [...body.children];
  if (elements.length === 0) {
    showLine(empty(next));
  } else if (there.length !== elements.length || there.some((each, number) => each !== elements[number])) {
    const focus = document.activeElement;
    body.replaceChildren(...elements);
    if (focus instanceof HTMLElement && body.contains(focus)) focus.focus({ preventScroll: true });
  }
  dispatchEvent(new Event("selected"));
}

// One line in place of messages.
function showLine(/** @type {string} */ words, kind = "") {
  const cell = h("td", { role: "cell", colspan: manages ? 7 : 6, class: `empty ${kind}` }, words);
  $("#messages").replaceChildren(h("tr", { role: "row" }, cell));
}

function empty(/** @type {string | null} */ next) {
  if (next) return "No message on this page matches. Older messages have not been searched yet.";
  return filters().size ? "No message matches." : "No message yet. The index page shows how to send the first one.";
}

// The row of a message. A new row is made only if something has changed.
function rowOf(/** @type {Message} */ message) {
  const { status, attempts, partial, uncertain, reason } = message;
  const shown = JSON.stringify([status, attempts.length, partial, uncertain, reason, laterOf(message)]);
  const there = rows.get(message.id);
  if (there?.shown === shown) return there.element;
  const element = row(message);
  const focus = document.activeElement;
  if (focus && there?.element.contains(focus)) {
    const place = focus.matches("input") ? "input" : "a";
    queueMicrotask(() => $(place, element).focus({ preventScroll: true }));
  }
  rows.set(message.id, { message, element, shown });
  return element;
}

// The roles are explicit because a phone's layout changes `display`, and browsers then drop them.
function row(/** @type {Message} */ message) {
  const subject = h("a", { href: `${base}/monitor/messages/${message.id}` }, subjectOf(message));
  const tags = marks(message).map((mark) => h("span", { class: "tag" }, mark));
  const cell = (/** @type {string} */ name, /** @type {Child} */ child) =>
    h("td", { role: "cell", class: name }, child);
  return h(
    "tr",
    { role: "row", "data-id": message.id },
    manages ? cell("select", checkbox(message)) : null,
    cell("state", badge(message.status)),
    h("th", { role: "rowheader", scope: "row", class: "subject" }, subject, tags, reason(message)),
    cell("to", recipients(message)),
    cell("later", later(message)),
    cell("attempts", attempts(message)),
    cell("created", time(message.created_at)),
  );
}

function checkbox(/** @type {Message} */ message) {
  const box = h("input", { type: "checkbox", "aria-label": `Select ${subjectOf(message)}` });
  box.checked = selected.has(message.id);
  box.addEventListener("change", () => {
    if (box.checked) selected.add(message.id);
    else selected.delete(message.id);
    dispatchEvent(new Event("selected"));
  });
  return box;
}

function marks(/** @type {Message} */ { partial, uncertain, channel, reference, tags, copy_of }) {
  return [
    partial ? "partial" : "",
    copy_of ? "copy" : "",
    uncertain ? "uncertain" : "",
    channel === "sms" ? "sms" : "",
    reference ?? "",
    ...tags,
  ].filter(Boolean);
}

function reason(/** @type {Message} */ { reason, status }) {
  return reason && status !== "cancelled" ? h("p", { class: "reply small" }, reason) : null;
}

// What came of the message after a relay took it, of the recipient for whom it went worst.
const WORST = ["complained", "bounced", "delayed", "relayed", "delivered"];

/** @type {(message: Pick<Message, "recipients">) => string} */
function laterOf({ recipients: all }) {
  const states = new Set(all.map((each) => each.later?.state));
  return WORST.find((state) => states.has(state)) ?? "";
}

function later(/** @type {Message} */ message) {
  const state = laterOf(message);
  return state ? badge(state) : "";
}

export function recipients(/** @type {Pick<Message, "recipients">} */ { recipients: all }) {
  return all.length > 1 ? `${all[0].address} +${all.length - 1}` : (all[0]?.address ?? "");
}

export function attempts(/** @type {Pick<Message, "attempts">} */ { attempts: all }) {
  return all.length > 1 ? `${all.length} attempts` : "";
}

export function showSelection() {
  for (const { element, message } of rows.values()) {
    const chosen = selected.has(message.id);
    /** @type {HTMLInputElement} */ ($("input", element)).checked = chosen;
    element.classList.toggle("selected", chosen);
  }
  const all = /** @type {HTMLInputElement} */ ($("#select-all"));
  all.checked = rows.size > 0 && selected.size === rows.size;
  all.indeterminate = selected.size > 0 && selected.size < rows.size;
  setText($("#selected"), selected.size ? `${selected.size} selected` : "Select all shown");
}

export function selectAll(/** @type {boolean} */ yes) {
  selected.clear();
  if (yes) for (const id of rows.keys()) selected.add(id);
  dispatchEvent(new Event("selected"));
}

// A cursor leads to older messages only. The browser's history leads back to newer ones.
function showPages(/** @type {string | null} */ next) {
  const older = $("#older");
  older.hidden = !next;
  older.onclick = () => {
    const query = filters();
    query.set("cursor", next ?? "");
    history.pushState({ paged: true }, "", `?${query}`);
    dispatchEvent(new Event("filtered"));
    $("#messages-title").scrollIntoView();
  };
  $("#back").hidden = !history.state?.paged;
  $("#back").onclick = () => history.back();
  const newest = /** @type {HTMLAnchorElement} */ ($("#newest"));
  newest.hidden = !cursor();
  const query = filters().toString();
  newest.href = query ? `?${query}` : location.pathname;
}
