// Ask before something is done, and say afterwards what came of it.
import { h, $ } from "./dom.js";

// True once the person has said yes. `verb` stands on the button; Escape and "Back" mean no.
export function confirmed({ title, words, verb, danger = false }) {
  return new Promise((resolve) => {
    const yes = h("button", { type: "submit", value: "yes", class: danger ? "danger" : "primary" }, verb);
    const dialog = h(
      "dialog",
      { class: "asking", "aria-labelledby": "asking-title" },
      h(
        "form",
        { method: "dialog" },
        h("h2", { id: "asking-title" }, title),
        h("p", {}, words),
        h("div", { class: "row end" }, h("button", { type: "submit", value: "no", class: "plain" }, "Back"), yes),
      ),
    );
    dialog.addEventListener("close", () => {
      resolve(dialog.returnValue === "yes");
      dialog.remove();
    });
    document.body.append(dialog);
    dialog.showModal();
    yes.focus();
  });
}

let hiding;

export function told(words, { bad = false } = {}) {
  const toast = $("#toast");
  toast.replaceChildren(h("p", { class: bad ? "bad" : "good" }, words));
  clearTimeout(hiding);
  hiding = setTimeout(() => toast.replaceChildren(), bad ? 12000 : 6000);
}

// Run it, and tell the person if it fails.
export async function trying(work) {
  try {
    return await work();
  } catch (error) {
    told(error.message, { bad: true });
    return undefined;
  }
}
