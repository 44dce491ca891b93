import type { Data } from "./outbox";
import { cut } from "./text";

/** What can be meant by a click; inside it a click means the same. */
const TARGETS = "a,button,input,select,textarea,label,summary,[role=button],[onclick]";
/** What a visitor may have typed into is never read. */
const EDITABLE = "input,select,textarea,[contenteditable]";
const TEXT_CHARACTERS = 100;

/** What was clicked: the element that was meant, and where it leads. */
export function click(clicked: Element): Data {
  const element = clicked.closest(TARGETS) ?? clicked;
  const data: Data = { tag: element.tagName.toLowerCase() };
  const id = element.getAttribute("id");
  if (id) data["id"] = id;
  if (!element.matches(EDITABLE) && !element.querySelector(EDITABLE)) {
    const text = element.textContent.replace(/\s+/g, " ").trim();
    if (text) data["text"] = cut(text, TEXT_CHARACTERS);
  }
  const href = element.closest("a")?.getAttribute("href");
  if (href) data["href"] = address(href);
  return data;
}

/** Where a link leads, in full; of mailto: and tel: only that it is one. */
function address(href: string): string {
  try {
    const url = new URL(href, location.href);
    return /^https?:$/.test(url.protocol) ? url.href : url.protocol;
  } catch {
    return "";
  }
}
