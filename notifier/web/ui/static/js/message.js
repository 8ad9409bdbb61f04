// One message: where it is and why, what was said about it, what it says, and what can be done.
import { get, text } from "./api.js";
import { actsOn } from "./acts.js";
import { $, badge, h, plural, say, span, when } from "./dom.js";
import { follow } from "./live.js";
import { attachments, framed, headers, plain } from "./reading.js";
import { tabs } from "./tabs.js";

const id = $("#message").dataset.id;
const path = `/v1/messages/${id}`;
const kept = `/monitor/messages/${id}`;
let message = null;
let views = null;

async function refresh() {
  try {
    const [now, explained] = await Promise.all([get(path), get(`${path}/explain`)]);
    const changed = JSON.stringify(now) !== JSON.stringify(message);
    message = now;
    show(explained);
    if (views && changed && [0, 1].includes(views.chosen)) views.again();
    if (!views) await startViews();
  } catch (error) {
    say($("#explained"), error.message);
  }
  $("#message").setAttribute("aria-busy", "false");
}

function show(explained) {
  const subject = message.subject || (message.channel === "sms" ? "Text message" : "(no subject)");
  say($("#subject"), subject);
  document.title = `${subject} · notifier`;
  $("#status").replaceChildren(badge(message.status), ...marks().map((mark) => h("span", { class: "tag" }, mark)));
  const acts = actsOn(message, refresh);
  const shown = acts.map((each) => each.dataset.verb).join();
  if ($("#acts").dataset.shown !== shown) $("#acts").replaceChildren(...acts);
  $("#acts").dataset.shown = shown;
  say($("#explained"), explained.explanation);
  $("#facts").replaceChildren(...facts().flatMap(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
  $("#recipients").replaceChildren(...message.recipients.map(recipient));
}

function marks() {
  return [message.partial && "partial", message.uncertain && `uncertain ${message.uncertain}×`, message.handed_to && `handed to ${message.handed_to}`, ...message.tags].filter(Boolean);
}

function facts() {
  return [
    ["From", message.from],
    ["Accepted", when(message.created_at)],
    message.finished_at ? ["Ended", when(message.finished_at)] : ["Due", when(message.due_at)],
    message.finished_at ? null : ["Expires", when(message.expires_at)],
    ["Channel", message.channel],
    message.reference && ["Reference", message.reference],
    message.user_id && ["User", message.user_id],
    Object.keys(message.metadata).length ? ["Metadata", JSON.stringify(message.metadata)] : null,
    message.warnings.length ? ["Warnings", message.warnings.join("; ")] : null,
  ].filter(Boolean);
}

function recipient(each) {
  return h("li", {}, badge(each.status), h("span", { class: "address" }, each.address), each.reply ? h("span", { class: "reply small" }, reply(each)) : null);
}

const reply = (each) => (each.code && !each.reply.startsWith(`${each.code}`) ? `${each.code} ${each.reply}` : each.reply);

// Attempts with all that is known of them, and what happened between them.
function timeline() {
  const attempts = new Map(message.attempts.map((each) => [each.started_at, each]));
  return h("ol", { class: "timeline" }, message.timeline.map((each) => {
    const attempt = each.what === "attempt" ? attempts.get(each.at) : null;
    return h("li", { class: attempt ? (attempt.code >= 200 && attempt.code < 300 ? "good" : "trouble") : each.what }, when(each.at), h("b", {}, attempt ? `attempt at ${attempt.relay}` : each.what), attempt ? tried(attempt) : each.detail ? h("p", { class: "reply" }, each.detail) : null);
  }));
}

function tried(attempt) {
  const about = [`reached ${attempt.stage}`, `took ${span(attempt.seconds)}`, attempt.charged ? "" : "not charged: the relay's fault", attempt.uncertain ? "uncertain: nobody can know whether it was taken" : ""].filter(Boolean);
  return [h("p", { class: "reply" }, reply(attempt)), h("p", { class: "soft small" }, about.join(" · "))];
}

async function conversation() {
  const talk = await get(`${path}/conversation`);
  if (!talk.attempts.length) return h("p", { class: "nothing" }, "Nothing has been said yet: no attempt was made.");
  const left = talk.attempts_dropped ? h("p", { class: "soft" }, `${plural(talk.attempts_dropped, "attempt")} in between left out.`) : null;
  return h("div", {}, left, talk.attempts.map((each) => h("section", {}, h("h3", {}, each.relay, " ", when(each.started_at)), talked(each))));
}

function talked({ conversation: lines, reply: words }) {
  if (!lines.length) return h("p", { class: "reply" }, words || "Nothing was said.");
  return h("pre", { class: "talk", tabindex: "0" }, lines.map((line) => h("span", { class: line.startsWith("C: ") ? "ours" : "theirs" }, `${line}\n`)));
}

async function startViews() {
  let content = null;
  try {
    content = await get(`${kept}/content`);
  } catch {
    // It has been pruned, or cannot be read: the source says which.
  }
  const shown = [["Timeline", timeline], ["Conversation", conversation]];
  if (content?.has_html) shown.push(["Preview", () => framed(`${kept}/html`)]);
  if (content) shown.push(["Text", () => plain(content.text)]);
  if (content?.headers.length) shown.push(["Headers", () => headers(content.headers)]);
  if (content?.attachments.length) shown.push(["Attachments", () => attachments(content.attachments, kept)]);
  shown.push(["Source", async () => plain(await text(`${path}/source`))]);
  views = tabs("What is known of it", shown);
  $("#views").replaceChildren(views);
}

// Back to the list as it was left.
$("#to-list").href += sessionStorage.getItem("monitor") ?? "";

// The stream begins with the message as it is; that there is none only an answer can say.
await refresh();
if (message) follow(`/v1/events?message=${id}`, { message: refresh });
