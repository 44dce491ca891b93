/* One journey over host names as the world has them: two tabs, three sub-domains, two sites. */
import assert from "node:assert/strict";
import { HOSTS, scenario, Site, type Stored } from "./harness";

const [www, blog, app, collect, store] = HOSTS as [string, string, string, string, string];
const shared = www.replace("www.", "");

const kinds = (views: Stored[], of: (view: Stored) => string): number => new Set(views.map(of)).size;
const visitor = ({ visitor_id }: Stored): string => visitor_id;
const session = ({ session_id }: Stored): string => session_id;

scenario("on two tabs, three sub-domains and two sites one visitor has one session, and somebody else another", async ({ context }) => {
  const open = async (host: string, count: number, by = context): Promise<[Site, Stored[]]> => {
    const site = new Site(by, host);
    const domains = site.script(`data-domains="${shared} ${store}"`, "domains", collect);
    const options = `data-cookie-domain="${host === store ? store : shared}"`;
    site.serve("/", `${domains}${site.script(options, "tracking", collect)}<a href="${site.url("/").replace(host, store)}">to the store</a>`);
    await site.open();
    return [site, await site.events(count, "page_view")];
  };

  await open(www, 1);
  const [site, tabs] = await open(www, 2);
  assert.equal(kinds(tabs, ({ raw_event_data }) => raw_event_data.tab_id), 2);
  const own = [...tabs, ...(await open(blog, 1))[1], ...(await open(app, 1))[1]];
  assert.equal(kinds(own, ({ url }) => url), 3);
  assert.deepEqual([kinds(own, visitor), kinds(own, session)], [1, 1]);

  const shelf = new Site(context, store);
  shelf.serve("/", shelf.script(`data-domains="${shared} ${store}"`, "domains", collect) + shelf.script("", "tracking", collect));
  const page = (await context.pages()).find((page) => page.url() === site.url("/"));
  assert.equal(await page?.evaluate("isSecureContext"), false);
  await page?.bringToFront();
  await page?.click("a");
  const there = await shelf.events(1, "page_view");
  assert.equal(there[0]?.url, shelf.url("/"));
  assert.equal(page?.url(), shelf.url("/"));
  assert.deepEqual([kinds([...own, ...there], visitor), kinds([...own, ...there], session)], [1, 1]);

  // Somebody who comes to both by himself.
  const stranger = await context.browser().createBrowserContext();
  try {
    const [, here] = await open(www, 3, stranger);
    const [, then] = await open(store, 2, stranger);
    assert.deepEqual([kinds([...here, ...then], visitor), kinds([...here, ...then], session)], [3, 3]);
  } finally {
    await stranger.close();
  }
});
