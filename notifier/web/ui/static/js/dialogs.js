// Ask before an action, and tell its result.
import { $, h } from "./dom.js";

/**
 * @typedef Question
 * @property {string} title
 * @property {string} text
 * @property {string} button what the button that agrees says
 * @property {boolean} [danger] it cannot be undone
 * @property {HTMLElement[]} [fields] what else is asked for
 */

/**
 * What is in the fields once the person has agreed; null: "Back" or Escape. The first field has the
 * focus. Without fields a dangerous dialog gives it to "Back", so that Enter alone does no harm.
 * @param {Question} question
 * @returns {Promise<FormData | null>}
 */
export function asked({ title, text, button, danger = false, fields = [] }) {
  return new Promise((resolve) => {
    const no = h("button", { type: "button", class: "plain" }, "Back");
    const yes = h("button", { type: "submit", value: "yes", class: danger ? "danger" : "primary" }, button);
    const form = h(
      "form",
      { method: "dialog" },
      h("h2", { id: "dialog-title" }, title),
      h("p", { id: "dialog-text" }, text),
      fields,
      h("div", { class: "row end" }, no, yes),
    );
    const dialog = h("dialog", { "aria-labelledby": "dialog-title", "aria-describedby": "dialog-text" }, form);
    no.addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => {
      resolve(dialog.returnValue === "yes" ? new FormData(form) : null);
      dialog.remove();
    });
    document.body.append(dialog);
    dialog.showModal();
    const first = fields[0]?.querySelector("input");
    (first ?? (danger ? no : yes)).focus();
  });
}

/** @type {(question: Question) => Promise<boolean>} */
export const confirmed = async (question) => (await asked(question)) !== null;

// A line at the foot of the page. It stays until it is dismissed or the next one comes.
/** @type {(text: string, options?: {bad?: boolean, link?: [string, string]}) => void} */
export function toast(text, { bad = false, link } = {}) {
  const dismiss = h("button", { type: "button", class: "plain", "aria-label": "Dismiss" }, "×");
  const line = h(
    "p",
    { class: bad ? "bad" : "good" },
    h("span", {}, text, link ? [" ", h("a", { href: link[0] }, link[1])] : null),
    dismiss,
  );
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
