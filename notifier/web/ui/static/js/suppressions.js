// The list of suppressions: look, add, remove, import, export. The URL has the filters.
import { file, get, manages, post, remove, upload } from "./api.js";
import { confirmed, reportingErrors, toast } from "./dialogs.js";
import { $, field, form, h, plural } from "./dom.js";
import { named } from "./filters.js";
import { listing } from "./listing.js";

const PATH = "/v1/suppressions";
const CSV = "text/csv";
const FILTERS = ["address", "domain", "reason", "key"];

// The filters in the page's URL, in the terms of the API.
export const filters = (search = location.search) => named(FILTERS, search);

/**
 * What the form asks for. A date means its end, in the time zone of the reader.
 * @type {(given: Record<string, string>) => Record<string, string>}
 */
export function asked(given) {
  const entries = Object.entries(given).map(([name, value]) => [name, value.trim()]);
  const body = Object.fromEntries(entries.filter(([, value]) => value));
  if (body.until) {
    const [year, month, day] = body.until.split("-").map(Number);
    body.until = new Date(year, month - 1, day + 1).toISOString();
  }
  return body;
}

/** @type {(entry: Suppression) => string} */
export function pathOf({ address, key }) {
  return `${PATH}/${encodeURIComponent(address)}?key=${encodeURIComponent(key ?? "-")}`;
}

// The day alone, with its year: an end may be far away.
const day = (/** @type {string} */ text) => h("time", { datetime: text, title: text }, text.slice(0, 10));

function row(/** @type {Suppression} */ entry) {
  const label = `Remove ${entry.address}`;
  const act = () => reportingErrors(() => takeOff(entry));
  const button = h("button", { type: "button", class: "small", "aria-label": label, onclick: act }, "Remove");
  return h(
    "tr",
    { "data-address": entry.address },
    h("th", { scope: "row" }, entry.address),
    h("td", {}, entry.reason),
    h("td", {}, entry.key ?? "all"),
    h("td", {}, day(entry.since)),
    h("td", {}, entry.until ? day(entry.until) : "never"),
    h("td", { class: "source" }, entry.source),
    manages ? h("td", {}, button) : null,
  );
}

/** @type {(entry: Suppression) => Promise<void>} */
async function takeOff(entry) {
  const whose = entry.key ? ` by the key ${entry.key}` : "";
  const question = {
    title: `Remove ${entry.address}?`,
    text: `Messages are sent there again${whose}.`,
    button: "Remove it",
  };
  if (!(await confirmed(question))) return;
  await remove(pathOf(entry));
  toast(`${entry.address} is no longer suppressed.`);
  await list.show();
  $("#list-title").focus();
}

async function takeOffAll() {
  const query = filters();
  const words = [...query].map(([name, value]) => `${name}: ${value}`).join(", ");
  const question = {
    title: "Remove all that match?",
    text: `Messages are sent again to every suppressed recipient with ${words}, on all pages.`,
    button: "Remove all",
    danger: true,
  };
  if (!(await confirmed(question))) return;
  const { count } = await remove(`${PATH}?${query}`);
  toast(`${plural(count, "suppression is", "suppressions are")} removed.`);
  await list.showFirst();
}

async function add() {
  const fields = form("#add");
  const given = Object.fromEntries(
    ["address", "reason", "key", "until", "source"].map((name) => [name, field(fields, name).value]),
  );
  const entry = await post(PATH, asked(given));
  fields.reset();
  toast(`Nothing is sent to ${entry.address}.`);
  await list.show();
  field(fields, "address").focus();
}

async function takeFile() {
  const fields = form("#import");
  const chosen = field(fields, "file").files?.[0];
  if (!chosen) return;
  const { count } = await upload(`${PATH}/import`, chosen, CSV);
  fields.reset();
  toast(`${plural(count, "suppression is", "suppressions are")} imported.`);
  await list.show();
}

async function save() {
  const content = await file(`${PATH}?${filters()}`, CSV);
  const url = URL.createObjectURL(content);
  const link = h("a", { href: url, download: "suppressions.csv" });
  link.click();
  URL.revokeObjectURL(url);
}

function showFilters() {
  const query = filters();
  for (const name of FILTERS) field(form("#filters"), name).value = query.get(name) ?? "";
  if (manages) $("#remove-all").hidden = query.size === 0;
}

/** @type {(selector: string, work: () => Promise<void>) => void} */
function onSubmit(selector, work) {
  form(selector).addEventListener("submit", (event) => {
    event.preventDefault();
    reportingErrors(work);
  });
}

const list = listing({
  body: "#suppressions",
  columns: manages ? 7 : 6,
  filters,
  showFilters,
  load: (query) => get(`${PATH}?${query}`),
  row,
  none: (filtered) => (filtered ? "No suppression matches." : "No address is suppressed."),
});

function start() {
  onSubmit("#filters", async () => {
    const fields = form("#filters");
    const written = new URLSearchParams(FILTERS.map((name) => [name, field(fields, name).value]));
    list.go(filters(`?${written}`));
  });
  $("#export").addEventListener("click", () => reportingErrors(save));
  if (manages) {
    onSubmit("#add", add);
    onSubmit("#import", takeFile);
    $("#remove-all").addEventListener("click", () => reportingErrors(takeOffAll));
  }
  list.start();
}

if (location.pathname.endsWith("/suppressions")) start();
