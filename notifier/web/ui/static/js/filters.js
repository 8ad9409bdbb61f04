// The filters of the list. They are in the page's URL, and the form shows them.
import { $, $$, count, field, form, h } from "./dom.js";

const STATUSES = [
  "scheduled",
  "queued",
  "sending",
  "deferred",
  "held",
  "sent",
  "failed",
  "expired",
  "cancelled",
  "superseded",
];
const FIELDS = ["q", "to", "reference", "tag", "user_id", "relay", "key", "channel", "reason", "bounced"];
const TIMES = ["created_after", "created_before"];

// Those of the parameters in a page's URL that have these names and a value.
/** @type {(names: string[], search: string) => URLSearchParams} */
export function named(names, search) {
  const here = new URLSearchParams(search);
  const found = new URLSearchParams();
  for (const name of names) {
    const value = here.get(name)?.trim();
    if (value) found.set(name, value);
  }
  return found;
}

// The filters in the page's URL, in the terms of the API.
export const filters = (search = location.search) => named(["status", ...FIELDS, ...TIMES], search);

export const cursor = () => new URLSearchParams(location.search).get("cursor");

const statuses = (/** @type {URLSearchParams} */ which) => which.get("status")?.split(",") ?? [];

// Change the filters. The list begins at its first page.
function go(/** @type {URLSearchParams} */ which) {
  const query = which.toString();
  if (query !== filters().toString() || cursor()) {
    history.pushState(null, "", query ? `?${query}` : location.pathname);
  }
  dispatchEvent(new Event("filtered"));
}

export function startFilters() {
  const fields = form("#filters");
  $("#statuses").append(
    ...STATUSES.map((status) =>
      h(
        "button",
        { type: "button", class: "chip", "data-status": status, "aria-pressed": "false" },
        h("span", { class: `status ${status}` }, status),
        h("span", { class: "number" }),
      ),
    ),
  );
  for (const chip of $$("[data-status]")) {
    chip.addEventListener("click", () => go(toggled(filters(), chip.dataset.status ?? "")));
  }
  fields.addEventListener("submit", (event) => {
    event.preventDefault();
    go(written(fields));
  });
  field(fields, "q").addEventListener("search", () => fields.requestSubmit());
  $("#clear").addEventListener("click", () => go(new URLSearchParams()));
  addEventListener("popstate", () => dispatchEvent(new Event("filtered")));
  addEventListener("filtered", showFilters);
  showFilters();
}

/**
 * The filters with this status chosen, or no longer chosen.
 * @type {(which: URLSearchParams, status: string) => URLSearchParams}
 */
export function toggled(which, status) {
  const chosen = new Set(statuses(which));
  if (!chosen.delete(status)) chosen.add(status);
  const other = new URLSearchParams(which);
  if (chosen.size) other.set("status", [...chosen].join(","));
  else other.delete("status");
  return other;
}

function written(/** @type {HTMLFormElement} */ fields) {
  const which = filters();
  for (const name of [...FIELDS, ...TIMES]) {
    const value = field(fields, name).value.trim();
    if (!value) which.delete(name);
    else which.set(name, TIMES.includes(name) ? new Date(value).toISOString() : value);
  }
  return which;
}

function showFilters() {
  const fields = form("#filters");
  const which = filters();
  addRelayNames([which.get("relay") ?? ""]);
  for (const name of FIELDS) field(fields, name).value = which.get(name) ?? "";
  for (const name of TIMES) field(fields, name).value = local(which.get(name));
  for (const chip of $$("[data-status]")) {
    chip.setAttribute("aria-pressed", String(statuses(which).includes(chip.dataset.status ?? "")));
  }
  if ([...FIELDS.slice(1), ...TIMES].some((name) => which.has(name))) {
    /** @type {HTMLDetailsElement} */ ($("#more")).open = true;
  }
}

// A time in the format of the field: in the person's time zone.
export function local(/** @type {string | null} */ text) {
  const at = new Date(text ?? "");
  if (Number.isNaN(at.getTime())) return "";
  return new Date(at.getTime() - at.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
}

export function showCounts(/** @type {Record<string, number>} */ counts) {
  for (const chip of $$("[data-status]")) {
    const number = counts[chip.dataset.status ?? ""] ?? 0;
    chip.classList.toggle("none", number === 0);
    $(".number", chip).textContent = count(number);
  }
}

// The relays to choose from, including the one that the URL names, even if it no longer exists.
export function addRelayNames(/** @type {string[]} */ names) {
  const select = /** @type {HTMLSelectElement} */ ($("#filters [name=relay]"));
  const known = new Set([...select.options].map(({ value }) => value));
  for (const name of names) if (!known.has(name)) select.append(new Option(name));
}
