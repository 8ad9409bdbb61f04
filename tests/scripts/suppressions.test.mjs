// What the page of suppressions asks of the service.
import assert from "node:assert/strict";
import { test } from "node:test";
import "./page.mjs";

const { asked, filters, pathOf } = await import("../../notifier/web/ui/static/js/suppressions.js");

test("the URL has the filters, and nothing else of it counts", () => {
  assert.equal(`${filters("?domain=x.org&q=1&reason=&key=%20shop%20")}`, "domain=x.org&key=shop");
});

test("what is empty is left out, and a date means its end", () => {
  const { until, ...others } = asked({ address: " ann@x.org ", key: "", until: "2100-01-31", source: " " });
  assert.deepEqual(others, { address: "ann@x.org" });
  assert.equal(until, new Date(2100, 1, 1).toISOString());
  assert.deepEqual(asked({ address: "@x.org", until: "" }), { address: "@x.org" });
});

test("an entry is taken off for its own key, whatever its address", () => {
  assert.equal(pathOf({ address: "a/b@x.org", key: null }), "/v1/suppressions/a%2Fb%40x.org?key=-");
  assert.equal(pathOf({ address: "@x.org", key: "shop" }), "/v1/suppressions/%40x.org?key=shop");
});
