import type { Touch } from "./session";

const UTM = ["source", "medium", "campaign", "term", "content", "id"];
const CLICK_IDS = /^([gdy]clid|[gw]braid|fbclid|msclkid|ttclid|twclid|li_fat_id|epik|rdt_cid|sccid)$/;

const MEDIA: [string, RegExp][] = [
  ["paid", /cp[acmv]$|^ppc|^paid|^display|^banner/],
  ["email", /mail|newsletter/],
  ["social", /^social/],
  ["affiliate", /^affiliate/],
];

/** Hosts by channel; what is captured is the source's name. */
const HOSTS: [string, RegExp][] = [
  ["ai-assistant", /(?:^|\.)(chatgpt|openai|perplexity|claude|gemini\.google|copilot\.microsoft|deepseek|mistral|grok)\./],
  ["email", /(?:^|\.)(e?mail\.[^.]+|outlook|gmx)\./],
  ["search", /(?:^|\.)(google|bing|duckduckgo|yahoo|yandex|baidu|ecosia|qwant|startpage|search\.brave|kagi|naver)\./],
  ["social", /(?:^|\.)(facebook|instagram|threads|t\.co$|twitter|x\.com$|linkedin|lnkd|reddit|youtube|youtu\.be$|pinterest|tiktok|bsky|vk\.com$|whatsapp|t\.me$|xing)(?:\.|$)/],
];

/** What a page's address and its referrer say of how the visitor came. */
export function arrival(url: string, referrer: string): { utm: Touch; clickIds: Touch; touch: Touch } {
  const utm: Touch = {};
  const clickIds: Touch = {};
  const touch: Touch = {};
  new URL(url).searchParams.forEach((value, name) => {
    if (!value) return;
    const campaign = name.slice(0, 4) === "utm_" ? name.slice(4) : "";
    // The first of several counts.
    if (UTM.includes(campaign)) utm[campaign] = utm[campaign] || value;
    else if (CLICK_IDS.test(name)) clickIds[name] = clickIds[name] || value;
  });
  const [channel, source] = classify(url, referrer);
  touch["channel"] = channel;
  if (source) touch["source"] = source;
  for (const name of UTM) if (utm[name]) touch[name] = utm[name];
  const [clickId] = Object.keys(clickIds);
  if (clickId) touch["click_id"] = clickId;
  const medium = (utm["medium"] || "").toLowerCase();
  // A free post carries it too.
  if (clickId && clickId !== "fbclid") touch["channel"] = "paid";
  else touch["channel"] = MEDIA.find(([, pattern]) => pattern.test(medium))?.[0] || (utm["source"] && /^(direct|internal)$/.test(channel) ? "campaign" : channel);
  return { utm, clickIds, touch };
}

/** The channel of a referrer, and the name of the source. */
export function classify(url: string, referrer: string): [string, string] {
  if (!referrer) return ["direct", ""];
  if (referrer.slice(0, 12) === "android-app:") return ["app", ""];
  const host = hostOf(referrer);
  if (!host) return ["direct", ""];
  if (registrable(host) === registrable(hostOf(url))) return ["internal", ""];
  for (const [channel, pattern] of HOSTS) {
    const found = pattern.exec(host);
    if (found) return [channel, found[1] || ""];
  }
  return ["referral", host];
}

function hostOf(url: string): string {
  try {
    return new URL(url).hostname.replace(/^www\./, "");
  } catch {
    return "";
  }
}

/** Roughly the part of a host that is registered; the server knows it exactly, with the list of public suffixes. */
function registrable(host: string): string {
  return /^[\d.]+$|:/.test(host) ? host : (/[^.]+\.(?:[^.]{1,3}\.[^.]{2}|[^.]+)$/.exec(host)?.[0] || host);
}
