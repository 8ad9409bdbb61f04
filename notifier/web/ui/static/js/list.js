// One page of messages. Rows are kept by id, so that a refresh disturbs neither selection nor focus.
import { base, get, manages } from "./api.js";
import { $, badge, h, say, when } from "./dom.js";
import { cursor, filters } from "./filters.js";

const LIMIT = 50;
const rows = new Map(); // id: {message, element}
export const selected = new Set();
let turn = 0;

export const shownMessages = () => [...rows.values()].map(({ message }) => message);
export const chosen = () => shownMessages().filter(({ id }) => selected.has(id));
export const shows = (ids) => cursor() === null || ids.some((id) => rows.has(id));

export async function showList() {
  const mine = ++turn;
  sessionStorage.setItem("monitor", location.search); // for the way back from one message
  const query = new URLSearchParams(filters());
  query.set("limit", LIMIT);
  if (cursor()) query.set("cursor", cursor());
  const list = $("#list");
  let page;
  try {
    page = await get(`/v1/messages?${query}`);
  } catch (error) {
    if (mine === turn) list.replaceChildren(h("p", { class: "nothing bad" }, error.message));
    return;
  }
  if (mine !== turn) return; // another was asked for meanwhile
  show(list, page.items, page.next_cursor);
  showPages(page.next_cursor);
  list.setAttribute("aria-busy", "false");
}

function show(list, messages, more) {
  const known = new Set(messages.map(({ id }) => id));
  for (const id of [...rows.keys()]) if (!known.has(id)) rows.delete(id);
  for (const id of [...selected]) if (!known.has(id)) selected.delete(id);
  const elements = messages.map(rowOf);
  if (elements.length === 0) elements.push(h("p", { class: "nothing" }, nothing(more)));
  const there = [...list.children];
  if (there.length !== elements.length || there.some((each, number) => each !== elements[number])) {
    const focus = document.activeElement;
    list.replaceChildren(...elements);
    if (list.contains(focus)) focus.focus({ preventScroll: true });
  }
  dispatchEvent(new Event("selected"));
}

function nothing(more) {
  if (more) return "Nothing among these. Older ones have not been looked through yet.";
  return filters().size ? "No message matches." : "No message yet. Send the first one: the index page says how.";
}

// The element that shows it; a new one only where there is something new to show.
function rowOf(message) {
  const shown = JSON.stringify([message.status, message.attempts.length, message.partial, message.uncertain, message.reason]);
  const there = rows.get(message.id);
  if (there?.shown === shown) return there.element;
  const element = row(message);
  if (there?.element.contains(document.activeElement)) {
    const place = document.activeElement.matches("input") ? "input" : "a";
    queueMicrotask(() => $(place, element)?.focus({ preventScroll: true }));
  }
  rows.set(message.id, { message, element, shown });
  return element;
}

function row(message) {
  const subject = message.subject || (message.channel === "sms" ? "Text message" : "(no subject)");
  const box = h("input", { type: "checkbox", "aria-label": `Select ${subject}` });
  box.checked = selected.has(message.id);
  box.addEventListener("change", () => {
    if (box.checked) selected.add(message.id);
    else selected.delete(message.id);
    dispatchEvent(new Event("selected"));
  });
  const marks = [
    message.partial ? "partial" : "",
    message.uncertain ? "uncertain" : "",
    message.channel === "sms" ? "sms" : "",
    message.reference ?? "",
    ...message.tags,
  ].filter(Boolean);
  return h(
    "div",
    { class: "row-of-list", "data-id": message.id },
    manages ? box : null,
    badge(message.status),
    h("div", { class: "what" }, h("a", { href: `${base}/monitor/messages/${message.id}` }, subject), ...marks.map((mark) => h("span", { class: "tag" }, mark)), why(message)),
    h("span", { class: "to" }, recipients(message)),
    h("span", { class: "tries" }, tries(message)),
    when(message.created_at),
  );
}

const why = (message) => (message.reason && message.status !== "cancelled" ? h("p", { class: "reply small" }, message.reason) : null);

function recipients({ recipients: all }) {
  return all.length > 1 ? `${all[0].address} +${all.length - 1}` : (all[0]?.address ?? "");
}

function tries({ attempts }) {
  return attempts.length > 1 ? `${attempts.length} attempts` : "";
}

export function showSelection() {
  for (const { element, message } of rows.values()) {
    const box = $("input", element);
    if (box) box.checked = selected.has(message.id);
    element.classList.toggle("selected", selected.has(message.id));
  }
  const all = $("#select-all");
  all.checked = rows.size > 0 && selected.size === rows.size;
  all.indeterminate = selected.size > 0 && selected.size < rows.size;
  say($("#selected"), selected.size ? `${selected.size} selected` : "Select all shown");
}

export function selectAll(yes) {
  for (const id of rows.keys()) yes ? selected.add(id) : selected.delete(id);
  dispatchEvent(new Event("selected"));
}

// Cursors lead to older ones only; to newer ones the browser's own history leads back.
function showPages(next) {
  const older = $("#older");
  older.hidden = !next;
  older.onclick = () => {
    const query = filters();
    query.set("cursor", next);
    history.pushState({ paged: true }, "", `?${query}`);
    dispatchEvent(new Event("filtered"));
    $("#messages-title").scrollIntoView();
  };
  $("#back").hidden = !history.state?.paged;
  $("#back").onclick = () => history.back();
  const newest = $("#newest");
  newest.hidden = !cursor();
  const query = filters().toString();
  newest.href = query ? `?${query}` : location.pathname;
}
