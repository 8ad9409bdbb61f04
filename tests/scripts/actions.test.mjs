// What the questions and the answers about messages say.
import assert from "node:assert/strict";
import { test } from "node:test";
import "./page.mjs";

const { allowedFor, listed, outcome, questionForAll, questionForSelected } = await import(
  "../../notifier/web/ui/static/js/actions.js"
);

const message = (status, changes = {}) => ({
  status,
  partial: false,
  uncertain: 0,
  reason: null,
  timeline: [],
  ...changes,
});

test("a state allows its actions alone", () => {
  assert.deepEqual(allowedFor(message("queued")), ["send-now", "cancel"]);
  assert.deepEqual(allowedFor(message("held")), ["retry", "settle", "cancel"]);
  assert.deepEqual(allowedFor(message("held", { reason: "storm" })), ["retry", "cancel"]);
  assert.deepEqual(allowedFor(message("sent")), []);
});

test("a message can be settled while its outcome is not known", () => {
  assert.deepEqual(allowedFor(message("deferred", { uncertain: 1 })), ["send-now", "settle", "cancel"]);
  assert.deepEqual(allowedFor(message("expired", { uncertain: 1 })), ["retry", "settle"]);
  assert.deepEqual(allowedFor(message("failed", { uncertain: 1, timeline: [{ what: "settled" }] })), ["retry"]);
  assert.deepEqual(allowedFor(message("sent", { uncertain: 1 })), []);
});

test("a sent message with refused recipients can be retried", () => {
  assert.deepEqual(allowedFor(message("sent", { partial: true })), ["retry"]);
});

test("a question about one message is in the singular", () => {
  assert.deepEqual(questionForSelected("cancel", 1, 0), {
    title: "Cancel 1 message?",
    text: "The message will not be sent.",
    button: "Cancel it",
    danger: true,
  });
});

test("a question about several messages is in the plural and mentions the others", () => {
  const { title, text, button, danger } = questionForSelected("send-now", 1200, 1);
  assert.equal(title, "Send now 1,200 messages?");
  assert.match(text, /^The messages are sent at once, before their time\. 1 other selected message stays as it is/);
  assert.equal(button, "Send now all 1,200");
  assert.equal(danger, undefined);
  assert.match(questionForSelected("retry", 2, 3).text, /3 other selected messages stay as they are/);
});

test("a count that was cut off is a lower bound, and nothing names it as the number", () => {
  const { title, text, button } = questionForAll("cancel", { count: 10000, more: true }, ["queued", "held"]);
  assert.equal(title, "Cancel more than 10,000 messages?");
  assert.match(text, /matches the filter and is queued or held, on all pages\. The messages will not be sent\.$/);
  assert.equal(button, "Cancel all");
});

test("the result tells how many, and the first refusal", () => {
  assert.equal(outcome("cancel", 1, []), "1 message is cancelled.");
  assert.equal(outcome("retry", 2, ["it is sent"]), "2 messages are queued again. 1 message was refused: it is sent");
  assert.equal(outcome("retry", 0, ["no", "no"]), "2 messages were refused: no");
});

test("a list of words ends with its conjunction", () => {
  assert.equal(listed([], "or"), "");
  assert.equal(listed(["a"], "or"), "a");
  assert.equal(listed(["a", "b", "c"], "or"), "a, b or c");
});
