import { attribute, isIgnored, leadsTo, selectorOf } from "./elements";
import { add, type Data } from "./outbox";
import { hear, hearCalls, later } from "./safely";

const MOST_FIELDS = 30;

/** When a form was first touched. */
const begun = new WeakMap<Element, number>();
let invalid: string[] | null = null;
let submitted: Element;
let submittedAt = 0;

/** Watch the forms: that and how one is sent, never what is in it. */
export function watchForms(): void {
  hear("focusin input", ({ target }: Event) => {
    const form = formOf(target);
    if (form && !begun.has(form)) begun.set(form, performance.now());
  });
  hear("submit", ({ target }: Event) => { submit(target as Element); });
  hear("invalid", ({ target }: Event) => {
    const form = formOf(target);
    if (!form || isIgnored(target as Element)) return;
    if (!invalid) {
      const names: string[] = (invalid = []);
      // Each field says it by itself, all in one task.
      later(() => {
        invalid = null;
        add("form_invalid", Object.assign(describe(form), { invalid: names.slice(0, MOST_FIELDS) }));
      }, 0);
    }
    invalid.push(attribute(target as Element, "name") || "");
  });
  // A script that sends a form causes no event.
  hearCalls(HTMLFormElement.prototype, "submit", submit);
}

function formOf(target: unknown): Element | null {
  return target instanceof Element ? target.closest("form") : null;
}

function submit(form: Element): void {
  const now = performance.now();
  // A page that hears of a submission and sends the form itself has sent it once.
  if (isIgnored(form) || (submitted === form && now - submittedAt < 1000)) return;
  submitted = form;
  submittedAt = now;
  const since = begun.get(form);
  begun.delete(form);
  add("form_submit", Object.assign(describe(form), { time_ms: since && Math.round(now - since) }));
}

function describe(form: Element): Data {
  return {
    id: attribute(form, "id"),
    name: attribute(form, "name"),
    selector: selectorOf(form),
    method: attribute(form, "method"),
    action: leadsTo(attribute(form, "action")),
    fields: [...form.querySelectorAll<HTMLInputElement>("input,select,textarea")]
      .filter((field) => !isIgnored(field))
      .map(({ name, id, type }) => ({ field: name || id, type }))
      // Neither hidden nor a button of any kind: image, reset, submit, button.
      .filter(({ type }) => !/^(hi|im|re|su|bu)/.test(type))
      .slice(0, MOST_FIELDS),
  };
}
