// Ask before an action, and tell its result.
import { $, h } from "./dom.js";

/**
 * @typedef Question
 * @property {string} title
 * @property {string} text
 * @property {string} button what the button that agrees says
 * @property {boolean} [danger] it cannot be undone
 */

/**
 * True once the person has agreed. "Back" and Escape mean no. In a dangerous dialog "Back" has the
 * focus, so that Enter alone does no harm.
 * @param {Question} question
 * @returns {Promise<boolean>}
 */
export function confirmed({ title, text, button, danger = false }) {
  return new Promise((resolve) => {
    const no = h("button", { type: "submit", value: "no", class: "plain" }, "Back");
    const yes = h("button", { type: "submit", value: "yes", class: danger ? "danger" : "primary" }, button);
    const dialog = h(
      "dialog",
      { "aria-labelledby": "dialog-title", "aria-describedby": "dialog-text" },
      h(
        "form",
        { method: "dialog" },
        h("h2", { id: "dialog-title" }, title),
        h("p", { id: "dialog-text" }, text),
        h("div", { class: "row end" }, no, yes),
      ),
    );
    dialog.addEventListener("close", () => {
      resolve(dialog.returnValue === "yes");
      dialog.remove();
    });
    document.body.append(dialog);
    dialog.showModal();
    (danger ? no : yes).focus();
  });
}

// A line at the foot of the page. It stays until it is dismissed or the next one comes.
export function toast(/** @type {string} */ text, { bad = false } = {}) {
  const dismiss = h("button", { type: "button", class: "plain", "aria-label": "Dismiss" }, "×");
  const line = h("p", { class: bad ? "bad" : "good" }, h("span", {}, text), dismiss);
  dismiss.addEventListener("click", () => line.remove());
  $("#toast").replaceChildren(line);
}

/**
 * Runs the work, and shows the person its error.
 * @param {() => unknown} work
 */
export async function reportingErrors(work) {
  try {
    await work();
  } catch (error) {
    toast(messageOf(error), { bad: true });
  }
}

export const messageOf = (/** @type {unknown} */ error) => (error instanceof Error ? error.message : String(error));
