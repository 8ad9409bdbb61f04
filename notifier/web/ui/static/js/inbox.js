// The inbox: mails as they are caught, and one of them open. Which one stands in the URL.
import { base, get, manages, remove, text } from "./api.js";
import { confirmed, told, trying } from "./asking.js";
import { $, h, plural, size, when } from "./dom.js";
import { follow } from "./live.js";
import { attachments, framed, headers, plain } from "./reading.js";
import { tabs } from "./tabs.js";

const MOST = 200;
let mails = [];
let next = null;
let total = 0;

const query = () => new URLSearchParams(location.search);
const search = $("#search");
search.elements.q.value = query().get("q") ?? "";

async function showMails({ older = false } = {}) {
  const asked = new URLSearchParams({ limit: older ? 50 : Math.min(Math.max(mails.length, 50), MOST) });
  if (query().get("q")) asked.set("q", query().get("q"));
  if (older) asked.set("before", next);
  const page = await get(`/inbox/messages?${asked}`);
  mails = older ? [...mails, ...page.items] : page.items;
  next = page.next_before;
  total = page.total;
  show();
}

function show() {
  const list = $("#mails");
  const focused = document.activeElement?.closest?.("[data-mail]")?.dataset.mail;
  const words = query().get("q") ? "No mail mentions that." : "Nothing was caught yet.";
  list.replaceChildren(...(mails.length ? mails.map(line) : [h("li", { class: "nothing" }, words)]));
  if (focused) $(`[data-mail="${focused}"]`, list)?.focus({ preventScroll: true });
  list.setAttribute("aria-busy", "false");
  $("#more").hidden = !next;
  $("#delete").hidden = !manages || total === 0;
}

function line(mail) {
  const open = query().get("mail") === mail.id;
  const address = query();
  address.set("mail", mail.id);
  return h(
    "li",
    {},
    h(
      "a",
      { href: `?${address}`, "data-mail": mail.id, "aria-current": open ? "true" : null, onclick: (event) => go(event, mail.id) },
      h("span", { class: "first" }, h("b", {}, mail.recipients[0] ?? "nobody", mail.recipients.length > 1 ? ` +${mail.recipients.length - 1}` : ""), when(mail.at)),
      h("span", { class: "subject" }, mail.subject || "(no subject)", mail.files ? h("span", { class: "tag" }, plural(mail.files, "file")) : null),
      h("span", { class: "soft small gist" }, mail.gist),
    ),
  );
}

function go(event, id) {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const address = query();
  if (id) address.set("mail", id);
  else address.delete("mail");
  history.pushState(null, "", `?${address}`);
  show();
  open();
}

async function open() {
  const id = query().get("mail");
  const place = $("#mail");
  document.body.classList.toggle("opened", Boolean(id));
  if (!id) return place.replaceChildren(h("p", { class: "nothing" }, "Choose a mail to read it."));
  try {
    place.replaceChildren(...read(await get(`/inbox/messages/${id}`)));
  } catch (error) {
    place.replaceChildren(back(), h("p", { class: "nothing" }, error.message));
  }
  return place.focus({ preventScroll: true });
}

const back = () => h("a", { class: "back", href: `${base}/inbox`, onclick: (event) => go(event, null) }, "All mails");

function read(mail) {
  const path = `/inbox/messages/${mail.id}`;
  const views = [];
  if (mail.html) views.push(["HTML", () => framed(`${path}/html`)]);
  views.push(["Text", () => plain(mail.text)], ["Headers", () => headers(mail.headers)], ["Source", async () => plain(await text(`${path}/source`))]);
  return [
    back(),
    h("h2", {}, mail.subject || "(no subject)"),
    h("dl", { class: "envelope" }, h("dt", {}, "From"), h("dd", {}, mail.sender || "(nobody)"), h("dt", {}, "To"), h("dd", {}, mail.recipients.join(", ")), h("dt", {}, "Caught"), h("dd", {}, when(mail.at), `, ${size(mail.size)}`)),
    mail.attachments.length ? attachments(mail.attachments, path) : "",
    tabs("The mail", views),
  ];
}

search.addEventListener("submit", (event) => {
  event.preventDefault();
  const address = query();
  const q = search.elements.q.value.trim();
  if (q) address.set("q", q);
  else address.delete("q");
  history.pushState(null, "", `?${address}`);
  mails = [];
  trying(showMails);
});
search.elements.q.addEventListener("search", () => search.requestSubmit());
$("#more").addEventListener("click", () => trying(() => showMails({ older: true })));
$("#delete").addEventListener("click", async () => {
  const words = "They are copies of what was sent: the messages themselves stay in the monitor.";
  if (!(await confirmed({ title: `Delete ${plural(total, "mail")}?`, words, verb: `Delete ${total === 1 ? "it" : `all ${total}`}`, danger: true }))) return;
  await trying(async () => {
    const { count } = await remove("/inbox/messages");
    told(`${plural(count, "mail")} deleted.`);
    history.pushState(null, "", location.pathname);
    open();
  });
});
addEventListener("popstate", () => {
  search.elements.q.value = query().get("q") ?? "";
  trying(showMails);
  open();
});

// Many may arrive at once: one look is enough for all of them.
let waiting = null;
const soon = () => {
  waiting ??= setTimeout(() => {
    waiting = null;
    trying(showMails);
  }, 300);
};
follow("/inbox/events", { mail: soon }, () => trying(showMails));
open();
