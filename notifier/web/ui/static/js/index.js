// The live state on the first page, from the open /health.
import { base } from "./api.js";
import { $$, count, setText } from "./dom.js";
import { regularly } from "./live.js";

regularly(5000, async () => {
  const health = await (await fetch(`${base}/health`, { cache: "no-store" })).json();
  /** @type {Record<string, string>} */
  const shown = {
    status: health.paused ? "paused" : health.status,
    sent_today: count(health.sent_today),
    waiting: count(health.waiting),
  };
  for (const place of $$("[data-figure]")) {
    const name = place.dataset.figure ?? "";
    setText(place, shown[name]);
    if (name === "status") place.className = health.paused ? "warn" : health.status === "ready" ? "ok" : "bad";
  }
});
