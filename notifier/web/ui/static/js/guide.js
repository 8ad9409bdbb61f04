// Search within one page of the guide: sections without the words are hidden.
import { $, $$, field, form, plural, setText } from "./dom.js";

const search = form("#search");

// A section is a heading with everything up to the next heading of its rank.
function sections() {
  /** @type {HTMLElement[][]} */
  const found = [[]];
  for (const element of $$(":scope > *", $("#text"))) {
    if (element.tagName === "H2") found.push([]);
    found[found.length - 1].push(element);
  }
  return found.map((elements) => ({
    elements,
    text: elements.map(({ textContent }) => textContent?.toLowerCase()).join("\n"),
  }));
}

const all = sections();

function show() {
  const words = field(search, "q").value.toLowerCase().split(/\s+/).filter(Boolean);
  let found = 0;
  for (const section of all) {
    const matches = words.every((word) => section.text.includes(word));
    if (matches) found += 1;
    for (const element of section.elements) element.hidden = !matches;
  }
  setText($("#found"), words.length ? plural(found, "section") : "");
}

field(search, "q").addEventListener("input", show);
search.addEventListener("submit", (event) => event.preventDefault());
