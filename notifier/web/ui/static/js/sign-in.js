// Send the key once. The cookie of the answer opens the session.
import { base } from "./api.js";
import { $, field, form, setText } from "./dom.js";

async function signIn(/** @type {SubmitEvent} */ event) {
  event.preventDefault();
  const key = field(form("#sign-in"), "key");
  setText($("#error"), "");
  const answer = await fetch(`${base}/sign-in`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ key: key.value }),
  }).catch(() => null);
  if (!answer) {
    setText($("#error"), "the service does not answer");
  } else if (answer.ok) {
    location.assign(next());
  } else {
    setText($("#error"), (await answer.json()).detail);
    key.focus();
  }
}

// The page that the person asked for, by its whole URL. The path alone could begin
// with two slashes, which would lead to another host.
function next() {
  const asked = new URLSearchParams(location.search).get("next") ?? "";
  const url = new URL(asked || `${base}/monitor`, location.origin);
  return url.origin === location.origin ? url.href : `${base}/monitor`;
}

// A person whom a proxy has signed in goes on to the page.
document.querySelector("#go-on")?.setAttribute("href", next());
// There is no form if no key is needed.
if (document.querySelector("#sign-in")) form("#sign-in").addEventListener("submit", signIn);
