// Hand the key over once; the answer's cookie keeps it from there.
import { base } from "./api.js";
import { $, say } from "./dom.js";

const form = $("#sign-in");

form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  say($("#refused"), "");
  const answer = await fetch(`${base}/sign-in`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ key: form.elements.key.value }),
  }).catch(() => null);
  if (!answer) {
    say($("#refused"), "the service does not answer");
  } else if (answer.ok) {
    location.assign(next());
  } else {
    say($("#refused"), (await answer.json()).detail);
    form.elements.key.focus();
  }
});

// Where the person wanted to go: a page of ours, by its whole address. Its path alone could begin
// with two slashes, which would be another host's.
function next() {
  const asked = new URLSearchParams(location.search).get("next") ?? "";
  const url = new URL(asked || `${base}/monitor`, location.origin);
  return url.origin === location.origin ? url.href : `${base}/monitor`;
}
