import { cut } from "./text";

/** What a visitor may have typed into is never read. */
const EDITABLE = "input,select,textarea,[contenteditable]:not([contenteditable=false])";
const IGNORED = "[data-evothesis-ignore]";
const MASKED = "[data-evothesis-mask]";
const TEXT_CHARACTERS = 100;
const LEVELS = 5;

/** Whether the page keeps an element to itself. */
export function isIgnored(element: Element): boolean {
  return !!element.closest(IGNORED);
}

/** Whether what stands in an element, or was typed into it, is not to be read. */
export function isPrivate(element: Element): boolean {
  return !!element.closest(`${EDITABLE},${MASKED}`);
}

/** The beginning of the text in an element; nothing that a visitor typed. */
export function textOf(element: Element): string {
  if (isPrivate(element) || element.querySelector(`${EDITABLE},${MASKED}`)) return "";
  // The label of a picture that is a button is its text too.
  const text = element.textContent.trim() || (element.getAttribute("aria-label") || element.getAttribute("title") || "");
  return cut(text.replace(/\s+/g, " ").trim(), TEXT_CHARACTERS);
}

/** A path to an element that stays the same when the page is drawn again: ids, names and places, never classes. */
export function selectorOf(element: Element): string {
  const path: string[] = [];
  for (let at: Element | null = element; at && path.length < LEVELS && at !== document.documentElement; at = at.parentElement) {
    const tag = at.tagName.toLowerCase();
    const id = at.getAttribute("id");
    // An id with a number in it was probably made for this one time.
    if (id && /^[A-Za-z][\w-]*$/.test(id) && !/\d{2}/.test(id)) {
      path.unshift(`#${id}`);
      break;
    }
    let place = 1;
    for (let other = at.previousElementSibling; other; other = other.previousElementSibling) {
      if (other.tagName === at.tagName) place++;
    }
    path.unshift(place > 1 ? `${tag}:nth-of-type(${String(place)})` : tag);
  }
  return path.join(">");
}
