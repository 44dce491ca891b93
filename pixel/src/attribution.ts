import type { Touch } from "./session";

/** A part of a campaign, or the id that an advertising network gave to the click. */
const PARAMETER =
  /^(?:utm_(source|medium|campaign|term|content|id)|([gdy]clid|[gw]braid|fbclid|msclkid|ttclid|twclid|li_fat_id|epik|rdt_cid|sccid))$/;

/** What a page's address and its referrer say of how the visitor came; which channel that is, the server knows. */
export function arrival(url: string, referrer: string): { utm?: Touch | undefined; click_ids?: Touch | undefined; touch: Touch } {
  let utm: Touch | undefined;
  let click_ids: Touch | undefined;
  new URL(url).searchParams.forEach((value, name) => {
    const [, campaign, network] = PARAMETER.exec(name) || [];
    // The first of several counts; none is nothing.
    if (value && campaign) utm = Object.assign({ [campaign]: value }, utm);
    if (value && network) click_ids = Object.assign({ [network]: value }, click_ids);
  });
  const [click_id] = Object.keys(click_ids || {});
  return { utm, click_ids, touch: Object.assign({ referrer: referrer.split("/", 3).join("/"), click_id }, utm) };
}
