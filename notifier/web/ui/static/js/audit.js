// The audit: who did what. The URL has the filters.
import { base, get } from "./api.js";
import { $, count, field, form, h, time } from "./dom.js";
import { local, named } from "./filters.js";
import { listing } from "./listing.js";

const PATH = "/v1/audit";
const FILTERS = ["by", "what", "since"];
const MESSAGE = /^[0-9a-f]{32}$/; // a message's id

// What the service calls an act, and the words for one and for many.
/** @type {[string, string, string?][]} */
const ACTS = [
  ["send", "sent a message", "sent messages"],
  ["send-message", "sent a message in the browser"],
  ["send-batch", "sent a batch in the browser"],
  ["copy", "sent a copy"],
  ["cancel", "cancelled a message", "cancelled messages"],
  ["retry", "retried a message", "retried messages"],
  ["send-now", "made a message due at once", "made messages due at once"],
  ["settle", "settled a message", "settled messages"],
  ["pause-queue", "stopped sending"],
  ["resume-queue", "resumed sending"],
  ["pause-relay", "stopped sending to a relay"],
  ["resume-relay", "resumed sending to a relay"],
  ["sign-in", "signed in"],
  ["sign-in-refused", "failed to sign in"],
  ["sign-out", "signed out"],
  ["make-key", "made an API key"],
  ["change-key", "changed an API key"],
  ["revoke-key", "revoked an API key"],
  ["remove-key", "removed an API key"],
  ["add-suppression", "suppressed an address", "suppressed addresses"],
  ["remove-suppression", "removed a suppression", "removed suppressions"],
  ["remove-suppressions", "removed a suppression", "removed suppressions"],
  ["import-suppressions", "imported a suppression", "imported suppressions"],
  ["test-callback", "tested a callback"],
  ["replay-callbacks", "sent a callback again", "sent callbacks again"],
  ["resume-callback", "resumed a callback"],
  ["take-report", "submitted a report", "submitted reports"],
  ["delete-mails", "deleted a mail of the inbox", "deleted mails of the inbox"],
  ["delete-mail", "deleted a mail of the inbox"],
  ["refuse-recipient", "let the inbox refuse a recipient"],
  ["refuse-nobody", "let the inbox accept all recipients"],
  ["reset-inbox", "reset the inbox"],
  ["erase-recipient", "erased a person"],
  ["export-recipient", "exported the data of a person"],
  ["prune", "deleted what was past its retention"],
  ["start", "started the service"],
];
const WORDS = new Map(ACTS.map(([name, one, many]) => [name, { one, many: many ?? one }]));

// The filters in the page's URL, in the terms of the API.
export const filters = (search = location.search) => named(FILTERS, search);

// What was done, for people; an act without words is shown by its name.
/** @type {(what: string, number?: number) => string} */
export function words(what, number = 1) {
  const { one, many } = WORDS.get(what) ?? { one: what, many: what };
  return number === 1 ? one : `${many} (${count(number)})`;
}

function row(/** @type {AuditRecord} */ record) {
  return h(
    "tr",
    {},
    h("td", { class: "when" }, time(record.at)),
    h("td", {}, only("by", record.by, record.by)),
    h("td", {}, only("what", record.what, words(record.what, record.count))),
    h("td", { class: "on" }, thing(record.on)),
    h("td", { class: "detail" }, record.detail),
  );
}

// A link to the records with this value alone.
/** @type {(name: string, value: string, text: string) => Node} */
function only(name, value, text) {
  return h("a", { href: `?${new URLSearchParams({ [name]: value })}`, title: `Only ${name}: ${value}` }, text);
}

/** @type {(on: string) => Node | string} */
function thing(on) {
  return MESSAGE.test(on) ? h("a", { href: `${base}/monitor/messages/${on}` }, on) : on;
}

function showFilters() {
  const query = filters();
  const fields = form("#filters");
  const what = query.get("what") ?? "";
  const select = /** @type {HTMLSelectElement} */ ($("#filters [name=what]"));
  if (what && !WORDS.has(what)) select.append(new Option(what));
  select.value = what;
  field(fields, "by").value = query.get("by") ?? "";
  field(fields, "since").value = local(query.get("since"));
}

function written() {
  const fields = form("#filters");
  const given = new URLSearchParams(FILTERS.map((name) => [name, field(fields, name).value]));
  const since = given.get("since");
  if (since) given.set("since", new Date(since).toISOString());
  return filters(`?${given}`);
}

const list = listing({
  body: "#records",
  columns: 5,
  filters,
  showFilters,
  load: (query) => {
    $("#export").setAttribute("href", `${base}${PATH}/export?${filters()}`);
    return get(`${PATH}?${query}`);
  },
  row,
  none: (filtered) => (filtered ? "Nothing matches." : "Nothing was done yet."),
});

function start() {
  $("#filters [name=what]").append(...[...WORDS].map(([name, { many }]) => new Option(many, name)));
  form("#filters").addEventListener("submit", (event) => {
    event.preventDefault();
    list.go(written());
  });
  list.start();
}

if (location.pathname.endsWith("/audit")) start();
