import type { Data } from "./outbox";

const UTM = ["source", "medium", "campaign", "term", "content"] as const;

/** What a page view says beside the page itself: the campaign that led here. */
export function pageView(url: string): Data {
  const query = new URL(url).searchParams;
  const utm: Record<string, string> = {};
  for (const name of UTM) {
    const value = query.get(`utm_${name}`);
    if (value) utm[name] = value;
  }
  return Object.keys(utm).length ? { utm } : {};
}
