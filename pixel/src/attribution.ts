import { redactText } from "./redact";
import type { Touch } from "./session";

/** A part of a campaign, or the id that an advertising network gave to the click. */
const CAMPAIGN = /[?&](?:utm_\w+|\w\w?clid|msclkid|[gw]braid|li_fat_id|epik|rdt_cid)=[^&]+/g;
/** Two of them have room in a cookie. */
const MOST_CHARACTERS = 400;

/** How the visitor came, by the query of a page's address and its referrer; what that means, the collector says. */
export function arrival(search: string, referrer: string): Touch {
  const query = redactText((search.match(CAMPAIGN) || []).join("")).slice(0, MOST_CHARACTERS);
  return { referrer: referrer.split("/", 3).join("/"), query };
}
