// Sign out, from every page.
import { base } from "./api.js";

document.querySelector("#sign-out")?.addEventListener("click", async () => {
  await fetch(`${base}/sign-out`, { method: "POST" });
  location.assign(`${base}/`);
});
