// Tabs after the ARIA authoring practices: arrow keys, Home and End move between them.
import { messageOf } from "./dialogs.js";
import { h } from "./dom.js";

/** @typedef {[title: string, make: () => Node | Promise<Node>]} View */

let made = 0;

/**
 * Each view has a title and a function that makes its content whenever the tab is chosen.
 * @param {string} label
 * @param {View[]} views
 */
export function tabs(label, views) {
  const prefix = `tabs-${++made}`;
  let chosen = 0;
  const panel = h("div", { role: "tabpanel", id: `${prefix}-panel`, tabindex: "0" });
  const buttons = views.map(([title], number) => {
    const given = { type: "button", role: "tab", id: `${prefix}-${number}`, "aria-controls": panel.id };
    return h("button", { ...given, onclick: () => choose(number) }, title);
  });
  const list = h("div", { role: "tablist", "aria-label": label, onkeydown: move }, buttons);

  async function choose(/** @type {number} */ number) {
    chosen = number;
    for (const [place, button] of buttons.entries()) {
      button.setAttribute("aria-selected", String(place === number));
      button.tabIndex = place === number ? 0 : -1;
    }
    panel.setAttribute("aria-labelledby", buttons[number].id);
    let content;
    try {
      content = await views[number][1]();
    } catch (error) {
      content = h("p", { class: "empty" }, messageOf(error));
    }
    if (chosen === number) panel.replaceChildren(content);
  }

  function move(/** @type {KeyboardEvent} */ event) {
    const number = target(event.key, chosen, buttons.length);
    if (number === null) return;
    event.preventDefault();
    choose(number);
    buttons[number].focus();
  }

  choose(0);
  const element = h("div", { class: "tabs" }, list, panel);
  return { element, chosen: () => views[chosen][0], again: () => choose(chosen) };
}

/**
 * The tab that a key leads to from the tab `from`. Null: the key does nothing.
 * @type {(key: string, from: number, tabs: number) => number | null}
 */
export function target(key, from, tabs) {
  switch (key) {
    case "ArrowRight":
      return (from + 1) % tabs;
    case "ArrowLeft":
      return (from + tabs - 1) % tabs;
    case "Home":
      return 0;
    case "End":
      return tabs - 1;
    default:
      return null;
  }
}
