// How numbers, sizes and durations are written.
import assert from "node:assert/strict";
import { test } from "node:test";
import "./page.mjs";

const { count, duration, plural, size, subjectOf, update } = await import("../../notifier/web/ui/static/js/dom.js");

test("a duration has the two units that matter", () => {
  const expected = [
    [0, "0 ms"],
    [0.25, "250 ms"],
    [1, "1.0 s"],
    [9.94, "9.9 s"],
    [59, "59 s"],
    [60, "1 min"],
    [3599, "59 min"],
    [3600, "1 h 0 min"],
    [86399, "23 h 59 min"],
    [86400, "1 d 0 h"],
    [90 * 3600, "3 d 18 h"],
  ];
  for (const [seconds, words] of expected) assert.equal(duration(seconds), words);
});

test("a duration is never rounded up to the next unit's number", () => {
  assert.equal(duration(0.9996), "1.0 s");
  assert.equal(duration(9.96), "10 s");
  assert.equal(duration(59.7), "1 min");
});

test("a size has at most three digits before its unit", () => {
  const expected = [
    [0, "0 B"],
    [1023, "1023 B"],
    [1024, "1.0 kB"],
    [10240, "10 kB"],
    [1024 * 1024, "1.0 MB"],
    [1024 * 1024 - 1, "1.0 MB"],
    [25 * 1024 * 1024, "25.0 MB"],
  ];
  for (const [octets, words] of expected) assert.equal(size(octets), words);
});

test("numbers have separators, and one thing has no plural", () => {
  assert.equal(count(1234567), "1,234,567");
  assert.equal(plural(1, "mail"), "1 mail");
  assert.equal(plural(0, "mail"), "0 mails");
  assert.equal(plural(2, "mail is", "mails are"), "2 mails are");
});

test("a message without a subject has a name", () => {
  assert.equal(subjectOf({ subject: "Hello", channel: "email" }), "Hello");
  assert.equal(subjectOf({ subject: "", channel: "email" }), "(no subject)");
  assert.equal(subjectOf({ subject: "", channel: "sms" }), "Text message");
});

test("an element is filled again only when its value changes", () => {
  let filled = 0;
  const element = { replaceChildren: () => filled++ };
  for (const value of [["queued"], ["queued"], ["sent"], ["sent"]]) update(element, value, () => []);
  assert.equal(filled, 2);
});
