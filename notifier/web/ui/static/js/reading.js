// What a mail says, for the monitor and the inbox. Its HTML is somebody else's: it stays in a
// frame without scripts, forms and network, whose policy the service sets.
import { base } from "./api.js";
import { h, size } from "./dom.js";

export function framed(path) {
  return h("iframe", { class: "stranger", sandbox: true, title: "The HTML of the mail", src: base + path, referrerpolicy: "no-referrer" });
}

export const plain = (text) => h("pre", { class: "text", tabindex: "0" }, text || "(nothing)");

export function headers(all) {
  return h("dl", { class: "headers" }, all.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

export function attachments(all, path) {
  return h(
    "ul",
    { class: "attachments", "aria-label": "Attachments" },
    all.map((each) => h("li", {}, h("a", { href: `${base}${path}/attachments/${each.number}`, download: each.name }, each.name), h("span", { class: "soft small" }, ` ${each.type}, ${size(each.size)}`))),
  );
}
