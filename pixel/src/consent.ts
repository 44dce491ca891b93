import { option } from "./options";
import { objects } from "./signals";
import { allow, forget, load, peek, save } from "./storage";

const mode = option("consent");
const cookieless = mode === "cookieless";
// Who misspells what he wants does not want everybody to be counted.
let waits = !/^(opt-out|cookieless|)$/.test(mode);

/**
 * What the visitor agreed to: true or false, or null while nobody knows.
 *
 * `opt-out` (the default) begins with yes, `opt-in` waits for it, `cookieless` keeps nothing on the device. It is read
 * anew each time, so that what is withdrawn in one tab holds in all.
 */
export function consent(): boolean | null {
  // Before any storage is touched.
  if (objects()) {
    allow(false);
    return false;
  }
  const said = load("consent") || (!cookieless && peek("consent"));
  const decided = said ? said[0] === "g" : waits ? null : true;
  allow(!!decided && !cookieless);
  if (!decided) forget(false);
  return decided;
}

/** Who said so: the platform, or "api"; empty where nobody was asked. */
export function consentSource(): string {
  return (load("consent") || "").slice(8);
}

/** Take note of a decision; no erases what was kept. Null: somebody is going to ask. Whether anything changed. */
export function decide(granted: boolean | null, source: string): boolean {
  const before = consent();
  const news = granted !== null && (granted !== before || (granted && consentSource() !== source));
  if (news) {
    if (!granted) forget(true);
    // An objection is remembered where silence would mean yes; the word alone, with nobody's id.
    allow((granted || !waits) && !cookieless);
    save("consent", granted ? `granted ${source}` : "denied");
  } else if (granted === null) waits = true;
  return news;
}
