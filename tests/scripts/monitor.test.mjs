// What the monitor makes of an answer: figures, the charts' history, filters, rows and questions.
import assert from "node:assert/strict";
import { test } from "node:test";
import "./page.mjs";

const scripts = "../../notifier/web/ui/static/js";
const { extended } = await import(`${scripts}/charts.js`);
const { said } = await import(`${scripts}/callbacks.js`);
const { figures, rate } = await import(`${scripts}/figures.js`);
const { filters, local, toggled } = await import(`${scripts}/filters.js`);
const { attempts, recipients } = await import(`${scripts}/list.js`);
const { consequences } = await import(`${scripts}/relays.js`);
const { target } = await import(`${scripts}/tabs.js`);

const START = Date.parse("2026-03-01T09:30:00Z");
const minute = (number, sent = 0) => ({
  at: new Date(START + number * 60_000).toISOString(),
  sent,
  failed: 0,
  waiting: 0,
});

test("a newer figure of the running minute replaces the older one", () => {
  const history = [minute(0), minute(1), minute(2, 1)];
  assert.deepEqual(extended(history, [minute(1, 5), minute(2, 3)]), [minute(0), minute(1, 5), minute(2, 3)]);
});

test("a new minute is added, and the oldest one leaves", () => {
  const history = [minute(0), minute(1), minute(2, 1)];
  assert.deepEqual(extended(history, [minute(2, 4), minute(3, 1)]), [minute(1), minute(2, 4), minute(3, 1)]);
});

test("after a gap, and before the first answer, the history must be fetched", () => {
  assert.equal(extended([minute(0), minute(1)], [minute(2), minute(3)]), null);
  assert.equal(extended([], [minute(2), minute(3)]), null);
});

test("the rate is the running minute with the missing part of the one before", () => {
  const minutes = [minute(0, 60), minute(1, 10)];
  assert.equal(rate(minutes, "sent", START + 60_000), 70);
  assert.equal(rate(minutes, "sent", START + 90_000), 40);
  assert.equal(rate(minutes, "sent", START + 120_000), 10);
  assert.equal(rate(minutes, "sent", START + 150_000), 10);
});

test("the figures tell how long the oldest waits", () => {
  const stats = {
    waiting: 1200,
    bounced: 2,
    oldest_due_at: "2026-03-01T09:30:00Z",
    workers: [{ message: "a" }, { message: null }],
    minutes: [minute(0), minute(1)],
  };
  const shown = figures(stats, START + 90_000);
  assert.deepEqual(shown, { waiting: "1,200", flight: "1", sent: "0", failed: "0", bounced: "2", oldest: "1 min" });
  assert.equal(figures({ ...stats, oldest_due_at: null }, START).oldest, "–");
});

test("parameters of the URL that are not filters are left out", () => {
  const found = filters("?q=%20needle%20&status=sent,failed&cursor=abc&evil=1&tag=");
  assert.equal(found.toString(), "status=sent%2Cfailed&q=needle");
});

test("toggling a status keeps the other filters", () => {
  const both = toggled(new URLSearchParams("q=a&status=sent"), "failed");
  assert.equal(both.get("status"), "sent,failed");
  const one = toggled(both, "sent");
  assert.equal(one.get("status"), "failed");
  assert.equal(toggled(one, "failed").toString(), "q=a");
});

test("an invalid time leaves its field empty", () => {
  assert.equal(local(null), "");
  assert.equal(local("yesterday"), "");
  assert.match(local("2026-03-01T09:30:00Z"), /^2026-0[23]-\d\dT\d\d:\d\d$/);
});

test("a row names the first recipient and counts the others", () => {
  assert.equal(recipients({ recipients: [] }), "");
  assert.equal(recipients({ recipients: [{ address: "a@example.org" }] }), "a@example.org");
  assert.equal(recipients({ recipients: [{ address: "a@example.org" }, {}, {}] }), "a@example.org +2");
});

test("a row shows the attempts if there were several", () => {
  assert.equal(attempts({ attempts: [{}] }), "");
  assert.equal(attempts({ attempts: [{}, {}] }), "2 attempts");
});

test("a pause says what waits and what it stops", () => {
  assert.match(consequences("pause", "queue", 1), /^1 message waits now\. .* nothing is sent until/);
  assert.match(consequences("pause", "relay x", 2), /^2 messages wait now\. .* nothing is sent through it until/);
  assert.equal(consequences("resume", "queue", 0), "0 messages wait now. Due messages are sent at once.");
});

test("keys move from tab to tab and around the ends", () => {
  assert.equal(target("ArrowRight", 2, 3), 0);
  assert.equal(target("ArrowLeft", 0, 3), 2);
  assert.equal(target("Home", 2, 3), 0);
  assert.equal(target("End", 0, 3), 2);
  assert.equal(target("Tab", 0, 3), null);
});

test("an application's answer is shown with what follows", () => {
  const told = { code: 200, reply: "thanks", tries: 1, outcome: "told" };
  assert.equal(said(told), "200 thanks");
  assert.equal(said({ ...told, code: 503, reply: "", tries: 2, outcome: null }), "503 (2 tries), is tried again");
  assert.equal(said({ ...told, code: null, reply: "no answer", outcome: "given_up" }), "no answer, given up");
});
