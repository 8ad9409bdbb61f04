// The inbox: the caught mails, and one of them open. The URL names the open one.
import { base, get, manages, remove, text } from "./api.js";
import { attachments, headers, plainText, untrustedHtml } from "./content.js";
import { confirmed, messageOf, reportingErrors, toast } from "./dialogs.js";
import { $, count, field, form, h, plural, size, subjectOf, time } from "./dom.js";
import { follow } from "./live.js";
import { tabs } from "./tabs.js";

const PAGE = 50;
const MOST = 200;
/** @type {MailSummary[]} */
let mails = [];
/** @type {string | null} */
let next = null;
let total = 0;

const query = () => new URLSearchParams(location.search);
const search = form("#search");
field(search, "q").value = query().get("q") ?? "";

async function showMails({ older = false } = {}) {
  const asked = new URLSearchParams();
  asked.set("limit", String(older ? PAGE : Math.min(Math.max(mails.length, PAGE), MOST)));
  const q = query().get("q");
  if (q) asked.set("q", q);
  if (older && next) asked.set("before", next);
  const page = await get(`/inbox/messages?${asked}`);
  mails = older ? [...mails, ...page.items] : page.items;
  next = page.next_before;
  total = page.total;
  show();
}

function show() {
  const list = $("#mails");
  const focus = document.activeElement;
  const focused = focus instanceof HTMLElement ? focus.dataset.mail : undefined;
  const words = query().get("q") ? "No mail matches." : "No mail was caught yet.";
  list.replaceChildren(...(mails.length ? mails.map(mailItem) : [h("li", { class: "empty" }, words)]));
  if (mails.some(({ id }) => id === focused)) $(`[data-mail="${focused}"]`, list).focus({ preventScroll: true });
  list.setAttribute("aria-busy", "false");
  $("#more").hidden = !next;
  $("#delete").hidden = !manages || total === 0;
}

function mailItem(/** @type {MailSummary} */ mail) {
  const others = mail.recipients.length > 1 ? ` +${mail.recipients.length - 1}` : "";
  const files = mail.files ? h("span", { class: "tag" }, plural(mail.files, "file")) : null;
  const address = query();
  address.set("mail", mail.id);
  const link = h(
    "a",
    {
      href: `?${address}`,
      "data-mail": mail.id,
      "aria-current": query().get("mail") === mail.id ? "true" : null,
      onclick: (/** @type {MouseEvent} */ event) => go(event, mail.id),
    },
    h("span", { class: "first" }, h("b", {}, mail.recipients[0] ?? "(nobody)", others), time(mail.at)),
    h("span", { class: "subject" }, subjectOf(mail), files),
    h("span", { class: "muted small excerpt" }, mail.gist),
  );
  return h("li", {}, link);
}

/** @type {(event: MouseEvent, id: string | null) => void} */
function go(event, id) {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const address = query();
  if (id) address.set("mail", id);
  else address.delete("mail");
  history.pushState(null, "", `?${address}`);
  show();
  showMail();
}

async function showMail() {
  const id = query().get("mail");
  const place = $("#mail");
  document.body.classList.toggle("mail-open", Boolean(id));
  if (!id) {
    place.replaceChildren(h("p", { class: "empty" }, "Choose a mail to read it."));
    return;
  }
  try {
    place.replaceChildren(...mailView(await get(`/inbox/messages/${id}`)));
  } catch (error) {
    place.replaceChildren(back(), h("p", { class: "empty" }, messageOf(error)));
  }
  place.focus({ preventScroll: true });
}

function back() {
  const leave = (/** @type {MouseEvent} */ event) => go(event, null);
  return h("a", { class: "back", href: `${base}/inbox`, onclick: leave }, "All mails");
}

function mailView(/** @type {Mail} */ mail) {
  const path = `/inbox/messages/${mail.id}`;
  /** @type {import("./tabs.js").View[]} */
  const views = [];
  if (mail.html) views.push(["HTML", () => untrustedHtml(`${path}/html`)]);
  views.push(
    ["Text", () => plainText(mail.text)],
    ["Headers", () => headers(mail.headers)],
    ["Source", async () => plainText(await text(`${path}/source`))],
  );
  return [
    back(),
    h("h2", {}, subjectOf(mail)),
    h(
      "dl",
      { class: "envelope" },
      [h("dt", {}, "From"), h("dd", {}, mail.sender || "(nobody)")],
      [h("dt", {}, "To"), h("dd", {}, mail.recipients.join(", "))],
      [h("dt", {}, "Caught"), h("dd", {}, time(mail.at), `, ${size(mail.size)}`)],
    ),
    mail.attachments.length ? attachments(mail.attachments, path) : "",
    tabs("The mail", views).element,
  ];
}

search.addEventListener("submit", (event) => {
  event.preventDefault();
  const address = query();
  const q = field(search, "q").value.trim();
  if (q) address.set("q", q);
  else address.delete("q");
  history.pushState(null, "", `?${address}`);
  mails = [];
  reportingErrors(showMails);
});
field(search, "q").addEventListener("search", () => search.requestSubmit());
$("#more").addEventListener("click", () => reportingErrors(() => showMails({ older: true })));
$("#delete").addEventListener("click", async () => {
  const question = {
    title: `Delete ${plural(total, "mail")}?`,
    text: "These mails are copies. The messages themselves stay in the monitor.",
    button: `Delete ${total === 1 ? "it" : `all ${count(total)}`}`,
    danger: true,
  };
  if (!(await confirmed(question))) return;
  await reportingErrors(async () => {
    const { count: deleted } = await remove("/inbox/messages");
    toast(`${plural(deleted, "mail is", "mails are")} deleted.`);
    history.pushState(null, "", location.pathname);
    await showMail();
  });
});
addEventListener("popstate", () => {
  field(search, "q").value = query().get("q") ?? "";
  reportingErrors(showMails);
  showMail();
});

// Many mails may arrive at once: one refresh is enough for all of them.
/** @type {ReturnType<typeof setTimeout> | null} */
let waiting = null;
function soon() {
  if (waiting) return;
  waiting = setTimeout(() => {
    waiting = null;
    reportingErrors(showMails);
  }, 300);
}
follow("/inbox/events", { mail: soon }, () => reportingErrors(showMails));
showMail();
