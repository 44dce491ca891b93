import { redactText } from "./redact";
import { cut } from "./text";

/** What a visitor may have typed into, or the page says is nobody's business, is never read. */
const PRIVATE = "input,select,textarea,[contenteditable]:not([contenteditable=false]),[data-evothesis-mask]";
const TEXT_CHARACTERS = 100;
const LEVELS = 5;

/** An attribute, if it says anything. A property of a form may be hidden by one of its fields. */
export function attribute(element: Element, name: string): string | undefined {
  return element.getAttribute(name) || undefined;
}

/** Whether the page keeps an element to itself. */
export function isIgnored(element: Element): boolean {
  return !!element.closest("[data-evothesis-ignore]");
}

/** Whether what stands in an element, or was typed into it, is not to be read. */
export function isPrivate(element: Element): boolean {
  return !!element.closest(PRIVATE);
}

/** The beginning of the text in an element; nothing that a visitor typed. */
export function textOf(element: Element): string | undefined {
  if (isPrivate(element) || element.querySelector(PRIVATE)) return;
  // The label of a picture that is a button is its text too.
  return excerpt(element.textContent.trim() || attribute(element, "aria-label") || attribute(element, "title") || "") || undefined;
}

/** The beginning of a text, on one line; masked before it is cut, since half a number would not be known for one. */
export function excerpt(text: string): string {
  return cut(redactText(text.replace(/\s+/g, " ").trim()), TEXT_CHARACTERS);
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
