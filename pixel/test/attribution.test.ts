import "./page";
import assert from "node:assert/strict";
import { test } from "node:test";
import { arrival, classify } from "../src/attribution";

const PAGE = "https://www.shop.example.co.uk/p";

void test("a referrer is a channel and a source", () => {
  const cases: [string, string, string][] = [
    ["", "direct", ""],
    ["https://www.google.co.uk/", "search", "google"],
    ["https://www.bing.com/search?q=x", "search", "bing"],
    ["https://t.co/abc", "social", "t.co"],
    ["https://l.facebook.com/l.php", "social", "facebook"],
    ["https://chatgpt.com/", "ai-assistant", "chatgpt"],
    ["https://gemini.google.com/app", "ai-assistant", "gemini.google"],
    ["https://mail.google.com/mail/u/0/", "email", "mail.google"],
    ["https://blog.example.co.uk/", "internal", ""],
    ["android-app://com.google.android.gm/", "app", ""],
    ["https://partner.example/", "referral", "partner.example"],
    ["https://notgoogle.example/", "referral", "notgoogle.example"],
    ["nonsense", "direct", ""],
  ];
  for (const [referrer, channel, source] of cases) assert.deepEqual(classify(PAGE, referrer), [channel, source], referrer);
});

void test("of several values the first counts, and none is nothing", () => {
  const { utm } = arrival("https://a.example/?utm_source=news&utm_campaign=x%20y&utm_source=second&utm_medium=&utm_id=7&q=1", "");
  assert.deepEqual(utm, { source: "news", campaign: "x y", id: "7" });
  assert.deepEqual(arrival("https://a.example/", "").utm, {});
});

void test("a click id says that it was paid for, but for the one that free posts carry too", () => {
  for (const name of ["gclid", "gbraid", "wbraid", "msclkid", "ttclid", "twclid", "li_fat_id"]) {
    const { clickIds, touch } = arrival(`https://a.example/?${name}=abc`, "https://www.google.com/");
    assert.deepEqual(clickIds, { [name]: "abc" });
    assert.equal(touch["channel"], "paid");
  }
  assert.equal(arrival("https://a.example/?fbclid=abc", "https://l.facebook.com/").touch["channel"], "social");
});

void test("a medium decides before the referrer does", () => {
  const channel = (query: string, referrer = "https://www.google.com/"): unknown => arrival(`https://a.example/?${query}`, referrer).touch["channel"];
  assert.equal(channel("utm_medium=cpc"), "paid");
  assert.equal(channel("utm_medium=Email"), "email");
  assert.equal(channel("utm_medium=newsletter", ""), "email");
  assert.equal(channel("utm_medium=social"), "social");
  assert.equal(channel("utm_source=flyer", ""), "campaign");
  assert.equal(channel("q=1"), "search");
});
