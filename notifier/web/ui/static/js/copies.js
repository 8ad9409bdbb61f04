// Send the content of a message to another address.
import { base, post, sends } from "./api.js";
import { asked, reportingErrors, toast } from "./dialogs.js";
import { h } from "./dom.js";

// Of a text by a carrier's gateway there is no copy: it was made for that carrier.
/** @type {(message: Message) => boolean} */
const copyable = ({ handed_to }) => sends && handed_to !== "gateway";

export function copyButtons(/** @type {Message} */ message, /** @type {Refresh} */ refresh) {
  if (!copyable(message)) return [];
  const act = () => reportingErrors(() => sendCopy(message, refresh));
  return [h("button", { type: "button", "data-action": "copy", onclick: act }, "Send to another address")];
}

async function sendCopy(/** @type {Message} */ message, /** @type {Refresh} */ refresh) {
  const sms = message.channel === "sms";
  const box = sms
    ? { type: "tel", placeholder: "+12025550123" }
    : { type: "email", placeholder: "ann@example.org", multiple: true };
  const answer = await asked({
    title: "Send to another address?",
    text: sms
      ? "The same text goes to this number, as a message of its own."
      : "The same content goes to these recipients alone, as a message of its own. This one stays as it is.",
    button: "Send",
    fields: [
      h(
        "label",
        { class: "asked" },
        sms ? "Number" : "Address (several: with commas)",
        h("input", { name: "to", required: true, autocomplete: "off", ...box }),
      ),
    ],
  });
  if (!answer) return;
  const to = String(answer.get("to"))
    .split(sms ? "\n" : ",")
    .map((each) => each.trim());
  const copy = await post(`/v1/messages/${message.id}/copies`, { to: to.filter(Boolean) });
  toast(`A copy to ${to.join(", ")} is accepted.`, { link: [`${base}/monitor/messages/${copy.id}`, "Show it"] });
  await refresh();
}
