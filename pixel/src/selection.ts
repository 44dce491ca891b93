import { isIgnored, isPrivate } from "./elements";
import { option } from "./options";
import { add, type Data } from "./outbox";
import { hear, safely } from "./safely";
import { cut } from "./text";

/** A selection is done when it has not changed for so long. */
const PAUSE_MS = 600;
const SHORTEST = 3;
const EXCERPT_CHARACTERS = 100;

/** Watch what is selected and copied: how much, and how it begins. */
export function watchSelection(): void {
  let timer = 0;
  let before = "";
  hear(document, "selectionchange", () => {
    clearTimeout(timer);
    timer = window.setTimeout(safely(() => {
      const data = excerpt(document.activeElement);
      const text = String(getSelection());
      if (data && text !== before) add("text_select", data);
      before = text;
    }), PAUSE_MS);
  });
  hear(document, "copy cut", (event: Event) => {
    const data = excerpt(event.target);
    if (data) add("text_copy", data);
  });
}

function excerpt(target: unknown): Data | null {
  const selection = getSelection();
  const text = String(selection).trim();
  const at = selection?.anchorNode;
  const element = at instanceof Element ? at : at?.parentElement;
  if (text.length < SHORTEST || !element || isIgnored(element)) return null;
  const hidden = isPrivate(element) || (target instanceof Element && target !== document.body && isPrivate(target));
  if (hidden) return null;
  return option("excerpts") === "false" ? { length: text.length } : { length: text.length, text: cut(text.replace(/\s+/g, " "), EXCERPT_CHARACTERS) };
}
