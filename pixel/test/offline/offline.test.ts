/* Two real minutes without a network, and back. */
import assert from "node:assert/strict";
import { scenario } from "../browser/harness";

const AWAY_MS = 120_000;
const EVENTS = 24;

scenario("what is made in two minutes without a network arrives once when it is back", async (site) => {
  site.serve("/", site.script());
  const page = await site.open();
  await site.events(1, "page_view");
  await site.offline(page, true);
  for (let i = 0; i < EVENTS; i++) {
    await page.evaluate(`evothesis("track", "away", { i: ${String(i)} })`);
    // The time itself is what is tried here.
    await new Promise((go) => setTimeout(go, AWAY_MS / EVENTS));
  }
  assert.equal(await site.count("away"), 0);
  await site.offline(page, false);
  await site.events(EVENTS, "away");
  const numbers = (await site.settled(page)).filter(({ event_type }) => event_type === "away").map(({ raw_event_data }) => raw_event_data.data["i"]);
  assert.deepEqual(numbers, Array.from({ length: EVENTS }, (_, i) => i));
});
