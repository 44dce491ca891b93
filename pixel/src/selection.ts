import { excerpt, isIgnored, isPrivate } from "./elements";
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
  const text = String(selection).trim();
  const at = selection && selection.anchorNode;
  const element = at instanceof Element ? at : at && at.parentElement;
  const same = type === "text_select" && text === before;
  before = text;
  const field = document.activeElement;
  if (text.length < SHORTEST || same || !element || isIgnored(element) || isPrivate(element) || (field && isPrivate(field))) return;
  add(type, { length: text.length, text: option("excerpts") === "false" ? undefined : excerpt(text) });
}
