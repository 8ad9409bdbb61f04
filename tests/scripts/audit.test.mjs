// What the page of the audit asks of the service, and how it tells what was done.
import assert from "node:assert/strict";
import { test } from "node:test";
import "./page.mjs";

const { filters, words } = await import("../../notifier/web/ui/static/js/audit.js");

test("the URL has the filters, and nothing else of it counts", () => {
  assert.equal(`${filters("?by=%20key:shop%20&what=&limit=1&cursor=x")}`, "by=key%3Ashop");
});

test("an act is told in words, with how many things it was done to", () => {
  assert.equal(words("cancel"), "cancelled a message");
  assert.equal(words("cancel", 1200), "cancelled messages (1,200)");
  assert.equal(words("cancel", 0), "cancelled messages (0)");
  assert.equal(words("new-act", 2), "new-act (2)");
});
