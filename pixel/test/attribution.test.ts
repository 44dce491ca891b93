import "./page";
import assert from "node:assert/strict";
import { test } from "node:test";
import { arrival } from "../src/attribution";

void test("of several values the first counts, and none is nothing", () => {
  const { utm } = arrival("https://a.example/?utm_source=news&utm_campaign=x%20y&utm_source=second&utm_medium=&utm_id=7&q=1", "");
  assert.deepEqual(utm, { source: "news", campaign: "x y", id: "7" });
  assert.equal(arrival("https://a.example/?utm_source=", "").utm, undefined);
});

void test("a click id is known by the network that gave it", () => {
  for (const name of ["gclid", "gbraid", "wbraid", "fbclid", "msclkid", "ttclid", "twclid", "li_fat_id"]) {
    const { click_ids, touch } = arrival(`https://a.example/?${name}=abc&${name}=second`, "");
    assert.deepEqual(click_ids, { [name]: "abc" });
    assert.equal(touch["click_id"], name);
  }
});

void test("a touch is the page that led here, without its path, and the campaign", () => {
  const { touch } = arrival("https://a.example/?utm_source=news&utm_medium=email", "https://mail.example/inbox/7?q=x");
  assert.deepEqual({ ...touch }, { referrer: "https://mail.example", click_id: undefined, source: "news", medium: "email" });
  assert.equal(arrival("https://a.example/", "android-app://com.example.app/").touch["referrer"], "android-app://com.example.app");
});
