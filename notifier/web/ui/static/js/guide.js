// Search within one page of the guide: sections without the words are hidden.
import { $, plural, say } from "./dom.js";

const text = $("#text");
const words = $("#words");

// A section is a heading with everything up to the next heading of its rank.
function sections() {
  const found = [[]];
  for (const element of text.children) {
    if (element.tagName === "H2") found.push([]);
    found.at(-1).push(element);
  }
  return found;
}

const all = sections().map((elements) => ({
  elements,
  text: elements.map((element) => element.textContent.toLowerCase()).join("\n"),
}));

function search() {
  const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const section of all) {
    const hit = wanted.every((word) => section.text.includes(word));
    shown += hit;
    for (const element of section.elements) element.hidden = !hit;
  }
  say($("#found"), wanted.length ? plural(shown, "section") : "");
}

words.addEventListener("input", search);
$("#search").addEventListener("submit", (event) => event.preventDefault());
