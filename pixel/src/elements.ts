import { redactText } from "./redact";
import { attempt } from "./safely";
import { cut } from "./text";

const IGNORED = "[data-evothesis-ignore]";
/** What a visitor may have typed into, or the page says is nobody's business, is never read. */
const PRIVATE = "input,select,textarea,[contenteditable]:not([contenteditable=false]),[data-evothesis-mask]";
export const HIDDEN = `${IGNORED},${PRIVATE}`;
const TEXT_CHARACTERS = 100;
const LEVELS = 5;

/** An attribute, if it says anything. A property of a form may be hidden by one of its fields. */
export function attribute(element: Element, name: string): string | undefined {
  return element.getAttribute(name) || undefined;
}

/** Whether the page keeps an element to itself. */
export function isIgnored(element: Element): boolean {
  return isWithin(element, IGNORED);
}

/** Whether what stands in an element, or was typed into it, is not to be read. */
export function isPrivate(element: Element): boolean {
  return isWithin(element, PRIVATE);
}

function isWithin(element: Element | undefined, selector: string): boolean {
  // What stands in a shadow stands in its host too.
  return !!element && (!!element.closest(selector) || isWithin((element.getRootNode() as Partial<ShadowRoot>).host, selector));
}

/** The beginning of the text in an element; nothing that a visitor typed. */
export function textOf(element: Element): string | undefined {
  if (isPrivate(element) || element.querySelector(HIDDEN)) return;
  const text = element.querySelector("script,style,noscript") ? "" : element.textContent.trim();
  // The label of a picture that is a button is its text too.
  return excerpt(text || attribute(element, "aria-label") || attribute(element, "title") || "") || undefined;
}

/** The beginning of a text, on one line; masked before it is cut, since half a number would not be known for one. */
export function excerpt(text: string): string {
  return cut(redactText(cut(text, 4000).replace(/\s+/g, " ").trim()), TEXT_CHARACTERS);
}

/** Where an address leads; of what is not on the web only its kind. */
export function leadsTo(address: string | undefined): string | undefined {
  return attempt(() => {
    const { protocol, href } = new URL(address as string, document.baseURI);
    return /^http/.test(protocol) ? href : protocol;
  });
}

/** A path to an element that stays the same when the page is drawn again: ids, names and places, never classes. */
export function selectorOf(element: Element): string {
  const path: string[] = [];
  for (let at: Element | null = element; at && path.length < LEVELS && at !== document.documentElement; at = at.parentElement) {
    const id = attribute(at, "id");
    // An id with a number in it was probably made for this one time.
    if (id && /^[a-z][\w-]*$/i.test(id) && !/\d\d/.test(id)) {
      path.unshift(`#${id}`);
      break;
    }
    const tag = at.localName;
    let place = 1;
    for (let other = at.previousElementSibling; other; other = other.previousElementSibling) if (other.localName === tag) place++;
    path.unshift(place > 1 ? `${tag}:nth-of-type(${place})` : tag);
  }
  return path.join(">");
}
