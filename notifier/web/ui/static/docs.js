// Show the OpenAPI document that the page names. Nothing is loaded from another host. A call is
// made with the key that one has signed in with, or with the one given under "Authorize".
const root = document.getElementById("docs");
const dark = matchMedia("(prefers-color-scheme: dark)");
const ORDER = ["messages", "simple", "sms", "templates", "operation", "probes"];
const place = (tag) => (ORDER.indexOf(tag) + ORDER.length + 1) % (ORDER.length + 1);
const colour = () => document.documentElement.classList.toggle("dark-mode", dark.matches);

colour();
dark.addEventListener("change", colour);
window.SwaggerUIBundle({
  domNode: root,
  url: root.dataset.document,
  tagsSorter: (one, other) => place(one) - place(other),
  deepLinking: true,
  validatorUrl: null,
  tryItOutEnabled: true,
  persistAuthorization: false,
  withCredentials: true,
  defaultModelsExpandDepth: 0,
});
