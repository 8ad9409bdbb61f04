// Show the OpenAPI document that the page names. Nothing is loaded from another host.
const root = document.getElementById("docs");

SwaggerUIBundle({
  domNode: root,
  url: root.dataset.document,
  deepLinking: true,
  validatorUrl: null,
  tryItOutEnabled: true,
  defaultModelsExpandDepth: 0,
});
