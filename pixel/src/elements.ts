import { redactText } from "./redact";
import { attempt } from "./safely";
import { cut } from "./text";

const IGNORED = "[data-evothesis-ignore]";
/** What a visitor may have typed into, or the page says is nobody's business, is never read. */
const PRIVATE = "[data-evothesis-mask],input,select,textarea,[contenteditable]:not([contenteditable=false])";
export const HIDDEN = `${PRIVATE},${IGNORED}`;
const TEXT_CHARACTERS = 100;
const MOST_READ = 4000;
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

/** Whether somebody is about to type. */
export function isTyping(): boolean {
  return isWithin(document.activeElement, PRIVATE);
}

function isWithin(element: Element | null | undefined, selector: string): boolean {
  // As it is drawn: what stands in a slot or a shadow stands in the component too.
  return (
    !!element &&
    (element.matches(selector) ||
      isWithin(element.assignedSlot || element.parentElement || (element.getRootNode() as Partial<ShadowRoot>).host, selector))
  );
}

/** The beginning of the text in an element; nothing that a visitor typed. */
export function textOf(element: Element): string | undefined {
  if (isPrivate(element) || element.querySelector(HIDDEN)) return;
  let text = "";
  if (!element.querySelector("noscript,script,style")) {
    const pieces = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
    // Apart, so that a number stands alone that a page shows in a box of its own, and together for whoever looks for one.
    while (text.length < MOST_READ && pieces.nextNode()) text += `\u200b${(pieces.currentNode as Text).data}`;
  }
  // The label of a picture that is a button is its text too.
  return excerpt(text) || excerpt(attribute(element, "aria-label") || attribute(element, "title") || "") || undefined;
}

/** The beginning of a text, on one line; masked before it is cut, since half a number would not be known for one. */
export function excerpt(text: string): string {
  return cut(redactText(cut(text, MOST_READ).replace(/\s+/g, " ")).replace(/[\s\u200b]+/g, " ").trim(), TEXT_CHARACTERS);
}

/** Where an address leads; of what is not on the web only its kind. */
export function leadsTo(address: string | null | undefined): string | undefined {
  return attempt(() => {
    const { protocol, href } = new URL(address || "", document.baseURI);
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
