import { isIgnored, selectorOf } from "./elements";
import { add, type Data } from "./outbox";
import { hear, safely } from "./safely";

const FIELDS = "input,select,textarea";
const MOST_FIELDS = 30;
const CONTROLS = /^(submit|button|reset|image|hidden)$/;

/** When a form was first touched. */
const begun = new WeakMap<Element, number>();
let invalid: { form: Element; names: string[] } | null = null;
let submitted: { form: Element; at: number } | null = null;

/** Watch the forms: that and how one is sent, never what is in it. */
export function watchForms(): void {
  hear(document, "focusin input", (event: Event) => {
    const form = event.target instanceof Element && event.target.closest("form");
    if (form && !begun.has(form)) begun.set(form, performance.now());
  });
  hear(document, "submit", (event: Event) => { submit(event.target); });
  hear(document, "invalid", (event: Event) => {
    const field = event.target;
    const form = field instanceof Element && field.closest("form");
    if (!form || isIgnored(form)) return;
    if (!invalid) {
      // Each field says it by itself, all in one task.
      setTimeout(safely(() => {
        if (invalid) add("form_invalid", Object.assign(describe(invalid.form), { invalid: invalid.names.slice(0, MOST_FIELDS) }));
        invalid = null;
      }), 0);
      invalid = { form, names: [] };
    }
    invalid.names.push(field.getAttribute("name") || "");
  });
  // A script that sends a form causes no event.
  // eslint-disable-next-line @typescript-eslint/unbound-method -- it is called with the form as `this`
  const original = HTMLFormElement.prototype.submit;
  const note = safely(submit);
  HTMLFormElement.prototype.submit = function () {
    note(this);
    original.call(this);
  };
}

function submit(form: unknown): void {
  if (!(form instanceof Element) || isIgnored(form)) return;
  const now = performance.now();
  // A page that hears of a submission and sends the form itself has sent it once.
  if (submitted?.form === form && now - submitted.at < 1000) return;
  submitted = { form, at: now };
  const data = describe(form);
  const since = begun.get(form);
  if (since !== undefined) data["time_ms"] = Math.round(now - since);
  begun.delete(form);
  add("form_submit", data);
}

function describe(form: Element): Data {
  const data: Data = { selector: selectorOf(form) };
  // By attribute: a field may be named like any property of the form.
  for (const name of ["id", "name", "method"]) {
    const value = form.getAttribute(name);
    if (value) data[name] = value;
  }
  const action = form.getAttribute("action");
  if (action) data["action"] = new URL(action, document.baseURI).href;
  data["fields"] = Array.from(form.querySelectorAll(FIELDS))
    .map((field) => ({
      field: field.getAttribute("name") || field.getAttribute("id") || "",
      type: (field.getAttribute("type") || (field.tagName === "INPUT" ? "text" : field.tagName)).toLowerCase(),
    }))
    .filter(({ type }) => !CONTROLS.test(type))
    .slice(0, MOST_FIELDS);
  return data;
}
