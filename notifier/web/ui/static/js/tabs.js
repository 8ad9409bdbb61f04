// Tabs as the ARIA authoring practices have them: arrows go from one to the next.
import { h } from "./dom.js";

let made = 0;

// `views` has a title and a function for each, which makes what is shown when it is first chosen.
export function tabs(label, views) {
  const prefix = `tabs-${++made}`;
  const panel = h("div", { role: "tabpanel", id: `${prefix}-panel`, tabindex: "0" });
  const buttons = views.map(([title], number) =>
    h("button", { type: "button", role: "tab", id: `${prefix}-${number}`, "aria-controls": panel.id, onclick: () => choose(number) }, title),
  );
  const list = h("div", { role: "tablist", "aria-label": label, onkeydown: arrow }, buttons);

  async function choose(number) {
    for (const [place, button] of buttons.entries()) {
      button.setAttribute("aria-selected", place === number);
      button.tabIndex = place === number ? 0 : -1;
    }
    panel.setAttribute("aria-labelledby", buttons[number].id);
    element.chosen = number;
    let content;
    try {
      content = await views[number][1]();
    } catch (error) {
      content = h("p", { class: "nothing" }, error.message);
    }
    if (element.chosen === number) panel.replaceChildren(content);
  }

  function arrow(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const number = (element.chosen + step + buttons.length) % buttons.length;
    choose(number);
    buttons[number].focus();
  }

  const element = h("div", { class: "tabs" }, list, panel);
  element.again = () => choose(element.chosen);
  choose(0);
  return element;
}
