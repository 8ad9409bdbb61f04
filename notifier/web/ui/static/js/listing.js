// A list of records in pages, as of the suppressions and of the audit. The URL has its filters.
import { reportingErrors } from "./dialogs.js";
import { $, h } from "./dom.js";

/**
 * `body` is the selector of the table's body. `filters` reads the URL, `showFilters` fills the form,
 * `load` asks for a page, and `none` says why there are no rows.
 * @param {{
 *   body: string,
 *   columns: number,
 *   filters: () => URLSearchParams,
 *   showFilters: () => void,
 *   load: (query: URLSearchParams) => Promise<{ items: any[], next_cursor: string | null }>,
 *   row: (item: any) => Node,
 *   none: (filtered: boolean) => string,
 * }} list
 */
export function listing({ body, columns, filters, showFilters, load, row, none }) {
  /** @type {string | null} where the page that is shown begins */
  let cursor = null;

  async function show() {
    const query = filters();
    const empty = h("td", { class: "empty", colspan: String(columns) }, none(query.size > 0));
    if (cursor) query.set("cursor", cursor);
    const page = await load(query);
    $(body).replaceChildren(...(page.items.length ? page.items.map(row) : [h("tr", {}, empty)]));
    $(body).setAttribute("aria-busy", "false");
    $("#first").hidden = !cursor;
    $("#next").hidden = !page.next_cursor;
    $("#next").onclick = () => turnTo(page.next_cursor);
  }

  async function turnTo(/** @type {string | null} */ to) {
    cursor = to;
    await reportingErrors(show);
    $("#list-title").scrollIntoView();
  }

  function showFirst() {
    cursor = null;
    return show();
  }

  function showAnew() {
    showFilters();
    reportingErrors(showFirst);
  }

  // Change the filters. The list begins at its first page.
  function go(/** @type {URLSearchParams} */ query) {
    history.pushState(null, "", query.size ? `?${query}` : location.pathname);
    showAnew();
  }

  function start() {
    $("#clear").addEventListener("click", () => go(new URLSearchParams()));
    $("#first").addEventListener("click", () => turnTo(null));
    addEventListener("popstate", showAnew);
    showAnew();
  }

  return { show, showFirst, go, start };
}
