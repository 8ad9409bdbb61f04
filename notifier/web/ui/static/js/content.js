// The content of a mail, for the monitor and the inbox. Its HTML comes from strangers: it stays in a
// frame without scripts, forms and network, whose policy the service sets.
import { base } from "./api.js";
import { h, size } from "./dom.js";

export function untrustedHtml(/** @type {string} */ path) {
  const kind = { class: "untrusted", sandbox: true, referrerpolicy: "no-referrer" };
  return h("iframe", { ...kind, title: "The HTML of the mail", src: base + path });
}

export const plainText = (/** @type {string} */ text) =>
  h("pre", { class: "text", tabindex: "0" }, text || "(nothing)");

export function headers(/** @type {[string, string][]} */ all) {
  const pairs = all.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]);
  return h("dl", { class: "headers" }, pairs);
}

/** @type {(all: Attachment[], path: string) => HTMLElement} */
export function attachments(all, path) {
  const items = all.map((each) => {
    const link = { href: `${base}${path}/attachments/${each.number}`, download: each.name };
    const about = h("span", { class: "muted small" }, ` ${each.type}, ${size(each.size)}`);
    return h("li", {}, h("a", link, each.name), about);
  });
  return h("ul", { class: "attachments", "aria-label": "Attachments" }, items);
}
