/* What must not leave the page is masked: secrets by their field's name, and what tells by its shape what it is.
   The rules are the server's own table; both are held to the same examples. */
import { CARD, EMAIL, SECRETS, SENSITIVE } from "rules";
import { cut, snake } from "./text";

/** Of a text the server keeps no more either. */
const MOST_CHARACTERS = 8000;
const FIELD = "[redacted:field]";
const USERINFO = /(:\/\/)[^/?#\s@]{1,256}@/g;
const PARAMETER = /([?&;#])([^?=&;#\s]{1,128})=[^&;#\s]*/g;
/** Numbers stand alone: neither within a word nor within a longer number. */
const NUMBER = ".-";

type Rule = [kind: string, pattern: RegExp, holds?: (found: string) => boolean];

const RULES: Rule[] = [
  ["secret", standing(SECRETS)],
  ["card", standing("\\d(?:[ -]?\\d){13,18}", NUMBER), isCard],
  ["ssn", standing("(?!000|666|9)\\d{3}([-. ])(?!00)\\d\\d\\3(?!0000)\\d{4}", NUMBER)],
  ["iban", standing("[A-Z]{2}\\d\\d(?:[ -]?[A-Z\\d]){11,30}"), isIban],
  ["phone", standing("(?:\\+|%2[Bb])[1-9](?:[ ().-]{0,2}\\d){7,14}")],
];

/** What stands by itself. A browser that cannot look back has what is before it in the match. */
function standing(pattern: string, glue = ""): RegExp {
  return new RegExp(`(^|[^A-Za-z\\d${glue}])(${pattern})(?!${glue && "[.-]?"}[A-Za-z\\d])`, "g");
}

/** Whether a field, or a parameter of a URL, holds a secret by its name. */
export function isSensitive(name: string): boolean {
  return SENSITIVE.test(snake(`_${name}_`));
}

/** A text with all that must not leave the page masked. */
export function redactText(text: string): string {
  text = cut(text, MOST_CHARACTERS + 99).replace(USERINFO, "$1").replace(PARAMETER, (all: string, before: string, name: string) =>
    isSensitive(name.replace(/%5[bd]/gi, "_")) ? `${before}${name}=${FIELD}` : all,
  );
  for (const [kind, pattern, holds] of RULES) {
    text = text.replace(pattern, (all: string, before: string, found: string) =>
      !holds || holds(found.replace(/[ -]/g, "")) ? `${before}[redacted:${kind}]` : all,
    );
  }
  return cut(text.replace(EMAIL, "[redacted:email]"), MOST_CHARACTERS);
}

/** A value of any shape with all that must not leave the page masked; what holds a secret by its name is masked whole. */
export function redact(value: unknown, depth = 0): unknown {
  if (typeof value === "string") return redactText(value);
  if (typeof value === "number") return isCard(`${value}`) ? "[redacted:card]" : value;
  if (!value || typeof value !== "object") return value;
  if (depth > 14) return null;
  if (Array.isArray(value)) return value.map((item) => redact(item, depth + 1));
  const kept: Record<string, unknown> = {};
  for (const key of Object.keys(value)) {
    const member = (value as Record<string, unknown>)[key];
    kept[redactText(key)] =
      isSensitive(key) && member != null && typeof member !== "boolean" ? FIELD : redact(member, depth + 1);
  }
  return kept;
}

function isCard(digits: string): boolean {
  let sum = 0;
  for (let place = 1; place <= digits.length; place++) {
    const digit = +(digits[digits.length - place] || 0);
    // Luhn's check; a doubled digit over nine counts its own digits.
    sum += place % 2 ? digit : digit > 4 ? 2 * digit - 9 : 2 * digit;
  }
  return sum % 10 === 0 && CARD.test(digits);
}

/** By its checksum (ISO 13616); which country's has how many characters, only the server knows. */
function isIban(number: string): boolean {
  let rest = 0;
  for (const letter of Array.from(number.slice(4) + number.slice(0, 4))) {
    const value = parseInt(letter, 36);
    rest = (rest * (value > 9 ? 100 : 10) + value) % 97;
  }
  return rest === 1;
}
