// Show the OpenAPI document that the page names. Nothing is loaded from other hosts. A call is
// made with the key of the session, or with the key given under "Authorize".
import { $ } from "./dom.js";

const dark = matchMedia("(prefers-color-scheme: dark)");
// In the order in which a newcomer needs them. A test holds that these are all.
const TAGS = [
  "messages",
  "text messages",
  "simple",
  "templates",
  "suppressions",
  "recipients",
  "reports",
  "callbacks",
  "operation",
  "probes",
];

function followScheme() {
  document.documentElement.classList.toggle("dark-mode", dark.matches);
}

followScheme();
dark.addEventListener("change", followScheme);
window.SwaggerUIBundle({
  domNode: $("#docs"),
  url: $("#docs").dataset.document,
  tagsSorter: (/** @type {string} */ one, /** @type {string} */ other) => TAGS.indexOf(one) - TAGS.indexOf(other),
  deepLinking: true,
  validatorUrl: null,
  tryItOutEnabled: true,
  persistAuthorization: false,
  withCredentials: true,
  defaultModelsExpandDepth: 0,
});
