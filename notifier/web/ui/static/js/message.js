// One message: its state and the reason, its attempts, its content, and the actions on it.
import { actionButtons, allowedFor } from "./actions.js";
import { base, get, text } from "./api.js";
import { attachments, headers, plainText, untrustedHtml } from "./content.js";
import { copyButtons } from "./copies.js";
import { messageOf } from "./dialogs.js";
import { $, badge, duration, h, plural, setText, subjectOf, time, update } from "./dom.js";
import { follow } from "./live.js";
import { tabs } from "./tabs.js";

const id = $("#message").dataset.id;
const path = `/v1/messages/${id}`;
const contentPath = `/monitor/messages/${id}`;
/** @type {Message} */
let message;
/** @type {ReturnType<typeof tabs> | null} */
let views = null;

async function refresh() {
  try {
    const [now, { explanation }] = await Promise.all([get(path), get(`${path}/explain`)]);
    const changed = JSON.stringify(now) !== JSON.stringify(message);
    message = now;
    setText($("#explanation"), explanation);
    if (changed) show();
    if (!views) await startViews();
    else if (changed && ["Timeline", "Conversation"].includes(views.chosen())) views.again();
  } catch (error) {
    setText($("#explanation"), messageOf(error));
  }
  $("#message").setAttribute("aria-busy", "false");
}

function show() {
  const subject = subjectOf(message);
  setText($("#subject"), subject);
  document.title = `${subject} · notifier`;
  const tags = marks();
  update($("#status"), [message.status, tags], () => [
    badge(message.status),
    ...tags.map((mark) => h("span", { class: "tag" }, mark)),
  ]);
  // The buttons belong to the message's present state, so they are made again when it changes.
  update($("#actions"), [message.status, allowedFor(message)], () => [
    ...actionButtons(message, refresh),
    ...copyButtons(message, refresh),
  ]);
  $("#facts").replaceChildren(...facts().map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
  update($("#recipients"), message.recipients, () => message.recipients.map(recipient));
}

function marks() {
  return [
    message.partial ? "partial" : "",
    message.uncertain ? `uncertain ${message.uncertain}×` : "",
    message.handed_to ? `handed to ${message.handed_to}` : "",
    ...message.tags,
  ].filter(Boolean);
}

/** @returns {[string, Child][]} */
function facts() {
  const { key, reference, user_id, metadata, warnings, finished_at, due_at, expires_at, copy_of } = message;
  /** @type {[string, Child][]} */
  const ending = finished_at
    ? [["Ended", time(finished_at)]]
    : [
        ["Due", time(due_at)],
        ["Expires", time(expires_at)],
      ];
  /** @type {[string, Child][]} */
  const all = [
    ["From", message.from],
    ["Accepted", time(message.created_at)],
    ...ending,
    ["Channel", message.channel],
    ["Copy of", copy_of && h("a", { href: `${base}/monitor/messages/${copy_of}` }, copy_of)],
    ["API key", key && h("a", { href: `${base}/monitor?${new URLSearchParams({ key })}` }, key)],
    ["Reference", reference],
    ["User", user_id],
    ["Metadata", Object.keys(metadata).length ? JSON.stringify(metadata) : null],
    ["Warnings", warnings.join("; ")],
  ];
  return all.filter(([, value]) => value);
}

function recipient(/** @type {Recipient} */ each) {
  const words = each.reply ? h("span", { class: "reply small" }, reply(each)) : null;
  return h("li", {}, badge(each.status), h("span", { class: "address" }, each.address), words, later(each));
}

// What was reported of the recipient after a relay took the message.
function later(/** @type {Recipient} */ { later: said }) {
  if (!said) return null;
  const words = [said.code, said.text].filter(Boolean).join(" ");
  return h(
    "p",
    { class: "later" },
    badge(said.state),
    " ",
    time(said.at),
    " ",
    h("span", { class: "reply small" }, words),
  );
}

/** @type {(said: {code: number | null, reply: string}) => string} */
const reply = (said) =>
  said.code && !said.reply.startsWith(`${said.code}`) ? `${said.code} ${said.reply}` : said.reply;

// Attempts with all their details, and the events between them.
function timeline() {
  const attempts = new Map(message.attempts.map((each) => [each.started_at, each]));
  const items = message.timeline.map((entry) => {
    const attempt = entry.what === "attempt" ? attempts.get(entry.at) : undefined;
    return attempt ? attemptItem(entry, attempt) : eventItem(entry);
  });
  return h("ol", { class: "timeline" }, items);
}

/** @type {(entry: TimelineEntry, attempt: Attempt) => HTMLElement} */
function attemptItem(entry, attempt) {
  const accepted = attempt.code !== null && attempt.code >= 200 && attempt.code < 300;
  const details = [
    `reached ${attempt.stage}`,
    `took ${duration(attempt.seconds)}`,
    attempt.charged ? "" : "does not count: the relay was at fault",
    attempt.uncertain ? "uncertain: it is unknown whether the relay took the message" : "",
  ].filter(Boolean);
  return h(
    "li",
    { class: accepted ? "success" : "failure" },
    time(entry.at),
    h("b", {}, `attempt at ${attempt.relay}`),
    h("p", { class: "reply" }, reply(attempt)),
    h("p", { class: "muted small" }, details.join(" · ")),
  );
}

function eventItem(/** @type {TimelineEntry} */ { at, what, detail, by }) {
  const who = by ? h("span", { class: "muted small" }, by) : null;
  return h(
    "li",
    { class: what },
    time(at),
    h("b", {}, what),
    " ",
    who,
    detail ? h("p", { class: "reply" }, detail) : null,
  );
}

async function conversation() {
  const { attempts, attempts_dropped: dropped } = await get(`${path}/conversation`);
  if (!attempts.length) return h("p", { class: "empty" }, "No attempt was made yet, so there is no conversation.");
  const gap = dropped ? h("p", { class: "muted" }, `${plural(dropped, "attempt")} in between were not kept.`) : null;
  return h("div", {}, gap, attempts.map(spoken));
}

function spoken(/** @type {Conversation} */ each) {
  const heading = h("h3", {}, each.relay, " ", time(each.started_at));
  if (!each.conversation.length) {
    return h("section", {}, heading, h("p", { class: "reply" }, each.reply || "There was no conversation."));
  }
  const lines = each.conversation.map((line) =>
    h("span", { class: line.startsWith("C: ") ? "client" : "server" }, `${line}\n`),
  );
  return h("section", {}, heading, h("pre", { class: "conversation", tabindex: "0" }, lines));
}

async function startViews() {
  let content = null;
  try {
    content = await get(`${contentPath}/content`);
  } catch {
    // The content has been pruned, or cannot be read: the source view says which.
  }
  /** @type {import("./tabs.js").View[]} */
  const shown = [
    ["Timeline", timeline],
    ["Conversation", conversation],
  ];
  if (content?.has_html) shown.push(["Preview", () => untrustedHtml(`${contentPath}/html`)]);
  if (content) shown.push(["Text", () => plainText(content.text)]);
  if (content?.headers.length) shown.push(["Headers", () => headers(content.headers)]);
  if (content?.attachments.length) shown.push(["Attachments", () => attachments(content.attachments, contentPath)]);
  shown.push(["Source", async () => plainText(await text(`${path}/source`))]);
  views = tabs("Details of the message", shown);
  $("#views").replaceChildren(views.element);
}

// The link leads back to the list with its filters.
/** @type {HTMLAnchorElement} */ ($("#to-list")).href += sessionStorage.getItem("monitor") ?? "";

// A message that does not exist has no stream, so this request must show the error.
await refresh();
if (views) follow(`/v1/events?message=${id}`, { message: refresh });
