/* On a machine that does nothing else: what an engine still sends for a tab that is gone, it sends when it has the time. */
import assert from "node:assert/strict";
import { scenario, Site, until } from "../browser/harness";

const TRIES = 100;

scenario("of a hundred clicks right before the tab is closed 95 arrive by themselves, and all with the next visit", async ({ context }) => {
  // Each on a site of its own, or the next try would be the visit that brings what the one before it lost.
  const sites = Array.from({ length: TRIES }, () => new Site(context));
  for (const site of sites) {
    site.serve("/", `${site.script()}<button>x</button>`);
    const page = await site.open();
    await page.evaluate("document.querySelector('button').click()");
    await page.close();
  }
  const clicks = async (): Promise<number> => (await Promise.all(sites.map((site) => site.count("click")))).reduce((a, b) => a + b);
  let before = -1;
  const alone = await until(async () => {
    const now = await clicks();
    const still = now === before;
    before = now;
    // Longer than anything takes that is still on its way.
    await new Promise((go) => setTimeout(go, 2000));
    return still ? now : 0;
  }, "the last of the clicks");
  console.log(`${String(alone)} of ${String(TRIES)} arrived by themselves`);
  assert.ok(alone >= 0.95 * TRIES, `only ${String(alone)} arrived by themselves`);
  for (const site of sites) {
    const page = await site.open();
    await site.settled(page);
    await page.close();
  }
  assert.deepEqual(await Promise.all(sites.map((site) => site.count("click"))), sites.map(() => 1));
});
