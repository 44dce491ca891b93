import { excerpt, HIDDEN, isIgnored, isPrivate, isTyping } from "./elements";
import { option } from "./options";
import { add } from "./outbox";
import { hear, later } from "./safely";

/** A selection is done when it has not changed for so long. */
const PAUSE_MS = 600;
const SHORTEST = 3;

let before = "";

/** Watch what is selected and copied: how much, and how it begins. */
export function watchSelection(): void {
  let timer = 0;
  hear("selectionchange", () => {
    clearTimeout(timer);
    timer = later(() => { tell("text_select"); }, PAUSE_MS);
  });
  hear("copy cut", () => { tell("text_copy"); });
}

function tell(type: string): void {
  const selection = getSelection();
  // Of a selection in a field, or in the shadow of a component, a browser says only that it is empty, and its text.
  const text = selection && !selection.isCollapsed ? String(selection).trim() : "";
  const at = selection && selection.anchorNode;
  const element = at instanceof Element ? at : at && at.parentElement;
  const same = type === "text_select" && text === before;
  before = text;
  if (text.length < SHORTEST || same || !element || isIgnored(element) || isPrivate(element) || isTyping()) return;
  const plain = option("excerpts") !== "false" && ![...document.querySelectorAll(HIDDEN)].some((other) => (selection as Selection).containsNode(other, true));
  add(type, { length: text.length, text: plain ? excerpt(text) : undefined });
}
