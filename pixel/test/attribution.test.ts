import "./page";
import assert from "node:assert/strict";
import { test } from "node:test";
import { arrival } from "../src/attribution";

void test("of an address a touch notes what belongs to a campaign, as it is written", () => {
  const { query } = arrival("?q=1&utm_source=news&utm_campaign=x%20y&utm_medium=&page=2&gclid=abc", "");
  assert.equal(query, "&utm_source=news&utm_campaign=x%20y&gclid=abc");
  assert.equal(arrival("?cid=1&clid=2&source=3&topicid=4&docid=5&recid=6", "").query, "");
});

void test("a click id is a campaign, whichever network gave it", () => {
  for (const name of ["gclid", "dclid", "gbraid", "wbraid", "fbclid", "msclkid", "ttclid", "twclid", "li_fat_id"]) {
    assert.equal(arrival(`?${name}=abc`, "").query, `?${name}=abc`);
  }
});

void test("a touch is short enough for a cookie, however long the address is", () => {
  assert.equal(arrival(`?utm_source=${"x".repeat(5000)}`, "").query.length, 400);
});

void test("of the page that led here a touch has the site alone", () => {
  assert.equal(arrival("", "https://mail.example/inbox/7?q=x").referrer, "https://mail.example");
  assert.equal(arrival("", "android-app://com.example.app/").referrer, "android-app://com.example.app");
});
