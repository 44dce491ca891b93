import "./page";
import assert from "node:assert/strict";
import { test } from "node:test";
import vectors from "../../tests/vectors/redaction.json";
import { excerpt } from "../src/elements";
import { isSensitive, redact, redactText } from "../src/redact";

void test("what the server masks in a text the pixel masks too", () => {
  for (const [text = "", masked] of vectors.masked) assert.equal(redactText(text), masked);
});

void test("what the server keeps the pixel keeps", () => {
  for (const text of vectors.kept) assert.equal(redactText(text), text);
});

void test("a name means the same on both sides", () => {
  for (const name of vectors.sensitive_names) assert.ok(isSensitive(name), name);
  for (const name of vectors.harmless_names) assert.ok(!isSensitive(name), name);
});

void test("what a page says by itself is masked through and through", () => {
  assert.deepEqual(
    redact({
      password: { value: "hunter2" },
      has_password: true,
      list: ["jane@mail.example", 4111111111111111, 42, null],
      "jane@mail.example": 1,
    }),
    {
      password: "[redacted:field]",
      has_password: true,
      list: ["[redacted:email]", "[redacted:card]", 42, null],
      "[redacted:email]": 1,
    },
  );
});

void test("a value that holds itself ends", () => {
  const value: Record<string, unknown> = {};
  value["self"] = value;
  assert.ok(JSON.stringify(redact(value)).length < 1000);
});

void test("what JSON does not know is written as it is meant", () => {
  const when = new Date(0);
  assert.deepEqual(redact({ n: BigInt("4111111111111111"), big: BigInt(7), when, at: new URL("https://a.example/?token=x") }), {
    n: "[redacted:card]",
    big: "7",
    when: when.toISOString(),
    at: "https://a.example/?token=[redacted:field]",
  });
});

void test("a value that branches without end is cut, and at once", () => {
  let value: unknown = "leaf";
  for (let level = 0; level < 13; level++) value = Array(10).fill(value);
  const began = process.cpuUsage().user;
  assert.ok(JSON.stringify(redact(value)).length < 10_000);
  assert.ok(process.cpuUsage().user - began < 200_000);
});

void test("no text takes long", () => {
  for (const piece of ["?", "&a", "#=", "a%40", "@a.", "1 ", "1-", "a.b@", "://", "eyJ", "-----BEGIN ", "AB12 ", "+1 ", "%2B1"]) {
    const began = process.cpuUsage().user;
    redactText(piece.repeat(8192 / piece.length));
    assert.ok(process.cpuUsage().user - began < 500_000, piece);
  }
});

void test("a number at the place where a text is cut is masked whole, or not there", () => {
  const card = "4111 1111 1111 1111";
  for (let before = 70; before < 100; before++) assert.doesNotMatch(excerpt(`${"word ".repeat(20).slice(0, before)} ${card}`), /\d/);
  for (let before = 7970; before < 8000; before++) assert.doesNotMatch(redactText(`${"x".repeat(before)} ${card}`), /\d/);
});
