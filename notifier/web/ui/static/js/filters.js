// The filters of the list: they live in the page's URL, and the form shows what stands there.
import { $, $$, count, h } from "./dom.js";

export const STATUSES = ["scheduled", "queued", "sending", "deferred", "held", "sent", "failed", "expired", "cancelled", "superseded"];
const FIELDS = ["q", "to", "reference", "tag", "user_id", "relay", "channel"];
const TIMES = ["created_after", "created_before"];

// What of the page's URL is a filter, in the terms of the API.
export function filters() {
  const here = new URLSearchParams(location.search);
  const found = new URLSearchParams();
  for (const name of ["status", ...FIELDS, ...TIMES]) {
    const value = here.get(name)?.trim();
    if (value) found.set(name, value);
  }
  return found;
}

export const cursor = () => new URLSearchParams(location.search).get("cursor");

export const statuses = (which = filters()) => which.get("status")?.split(",") ?? [];

// Go to other filters; the list begins anew.
function go(which) {
  const query = which.toString();
  if (query === filters().toString() && !cursor()) return dispatchEvent(new Event("filtered"));
  history.pushState(null, "", query ? `?${query}` : location.pathname);
  return dispatchEvent(new Event("filtered"));
}

export function startFilters() {
  const form = $("#filters");
  $("#statuses").append(
    ...STATUSES.map((status) =>
      h("button", { type: "button", class: "chip", "data-status": status, "aria-pressed": "false" }, h("span", { class: `status ${status}` }, status), h("span", { class: "number" })),
    ),
  );
  $("#statuses").addEventListener("click", (event) => {
    const status = event.target.closest("[data-status]")?.dataset.status;
    if (status) toggle(status);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    go(written(form));
  });
  form.elements.q.addEventListener("search", () => form.requestSubmit());
  $("#clear").addEventListener("click", () => go(new URLSearchParams()));
  addEventListener("popstate", () => dispatchEvent(new Event("filtered")));
  addEventListener("filtered", showFilters);
  showFilters();
}

function toggle(status) {
  const which = filters();
  const chosen = new Set(statuses(which));
  if (!chosen.delete(status)) chosen.add(status);
  if (chosen.size) which.set("status", [...chosen].join(","));
  else which.delete("status");
  go(which);
}

function written(form) {
  const which = filters();
  for (const name of [...FIELDS, ...TIMES]) {
    const value = form.elements[name].value.trim();
    if (!value) which.delete(name);
    else which.set(name, TIMES.includes(name) ? new Date(value).toISOString() : value);
  }
  return which;
}

function showFilters() {
  const form = $("#filters");
  const which = filters();
  for (const name of FIELDS) {
    const value = which.get(name) ?? "";
    if (name === "relay" && value && ![...form.elements.relay.options].some((each) => each.value === value)) form.elements.relay.append(new Option(value));
    form.elements[name].value = value;
  }
  for (const name of TIMES) form.elements[name].value = which.has(name) ? local(which.get(name)) : "";
  for (const chip of $$(".chip")) chip.setAttribute("aria-pressed", statuses(which).includes(chip.dataset.status));
  if ([...FIELDS.slice(1), ...TIMES].some((name) => which.has(name))) $("#more").open = true;
}

// As the field wants it, in the person's own time.
function local(text) {
  const at = new Date(text);
  if (Number.isNaN(at.getTime())) return "";
  return new Date(at - at.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
}

export function showCounts(counts) {
  for (const chip of $$(".chip")) {
    const number = counts[chip.dataset.status] ?? 0;
    chip.classList.toggle("none", number === 0);
    $(".number", chip).textContent = count(number);
  }
}

export function showRelayNames(relays) {
  const select = $("#filters").elements.relay;
  const known = new Set([...select.options].map((each) => each.value));
  for (const { name } of relays) if (!known.has(name)) select.append(new Option(name));
  const which = filters().get("relay") ?? "";
  if (document.activeElement !== select) select.value = which;
}
