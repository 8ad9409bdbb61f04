// What the question about settling asks: what became of the messages, and how it is known.
import { h } from "./dom.js";

// Of what is not held, an uncertain outcome in one of these states is not known yet.
const UNKNOWN = ["queued", "deferred", "failed", "expired", "cancelled", "superseded"];

/** @type {(message: Message) => boolean} */
export function settleable({ status, reason, uncertain, timeline }) {
  if (status === "held") return reason !== "storm" || uncertain > 0;
  const last = timeline.findLast(({ what }) => what === "settled" || what === "retried");
  return uncertain > 0 && UNKNOWN.includes(status) && last?.what !== "settled";
}

export function settlementFields() {
  return [
    h(
      "fieldset",
      { class: "choices" },
      h("legend", {}, "Outcome"),
      choice("sent", "It was sent: the relay has it"),
      choice("failed", "It failed: it never arrived"),
    ),
    h(
      "label",
      { class: "asked" },
      "How do you know?",
      h("input", { name: "why", maxlength: "500", autocomplete: "off", placeholder: "she has confirmed it" }),
    ),
  ];
}

/** @type {(value: string, words: string) => HTMLElement} */
const choice = (value, words) =>
  h("label", {}, h("input", { type: "radio", name: "as", value, required: true }), " ", words);
