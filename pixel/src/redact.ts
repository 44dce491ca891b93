/* What must not leave the page is masked: secrets by their field's name, and what tells by its shape what it is.
   The rules are the server's own table; both are held to the same examples. */
/* eslint-disable @typescript-eslint/no-deprecated -- unlike decodeURIComponent, unescape takes what is no UTF-8 too */
import { CARD, EMAIL, SECRETS, SENSITIVE } from "rules";
import { cut, snake } from "./text";

/** Of a text the server keeps no more either. */
const MOST_CHARACTERS = 8000;
/** Of a page's own data, of which each value counts at least so much; whoever hands over his window cannot mean all of it. */
const MOST_TOLD = 30_000;
const LEAST_TOLD = 20;
const MOST_VALUES = 999;
const FIELD = "[redacted:field]";
/** All that is masked has one of these. Most texts have none; to compile the rest for them would cost the page more. */
const HINT = /[@=%+_\0]|[A-Z]{2}|eyJ|xox|glpat|(\d\D{0,3}){9}/;
/** Who is let in by an address, and what no database stores. */
const UNWANTED = /(:\/\/)[^/?#\s]{1,256}@|\0/g;
/** The second finds the parameters of an address that is a parameter itself. */
const PARAMETERS = [/([?&;#]|^)([^?=&;#\s]{1,128})=[^&;#\s]*/g, /([?&;#]|^)([^?=&;#\s]{1,128})=[^?&;#\s]*/g];
/** What an address may hold in another spelling. */
const WORD = /[^&;#?=/\s]+/g;
/** Numbers stand alone: neither within a word nor within a longer number. */
const NUMBER = ".-";
const LEAST_NUMBER = 14;
/** What may part the digits of a number: spaces and hyphens of every kind, seen or not. */
const BETWEEN = "\\s\xad\u200b\u2010-\u2015-";

type Rule = [kind: string, pattern: RegExp, holds?: (found: string) => boolean];

const RULES: Rule[] = [
  ["secret", standing(SECRETS)],
  ["card", standing(`\\d(?:[${BETWEEN}]{0,3}\\d){13,18}`, NUMBER), isCard],
  ["ssn", standing(`(?!000|666|9)\\d{3}([.${BETWEEN}])(?!00)\\d\\d\\3(?!0000)\\d{4}`, NUMBER)],
  ["iban", standing(`[A-Z]{2}\\d\\d(?:[${BETWEEN}]{0,3}[A-Z\\d]){11,30}`), isIban],
  ["email", EMAIL],
  ["phone", standing(`\\+[1-9](?:[().${BETWEEN}]{0,3}\\d){7,14}`)],
];

/** What stands by itself. A browser that cannot look back has what is before it in the match. */
function standing(pattern: string, glue = ""): RegExp {
  return new RegExp(`(^|[^A-Za-z\\d${glue}])(${pattern})(?!${glue && "[.-]?"}[A-Za-z\\d])`, "g");
}

/** Whether a field, or a parameter of a URL, holds a secret by its name. */
export function isSensitive(name: string): boolean {
  return SENSITIVE.test(snake(`_${name}_`).replace(/_*\d+_/g, "_"));
}

/** A text with all that must not leave the page masked; a word that is percent-encoded whole, however often it was. */
export function redactText(text: string, spellings = 3): string {
  text = cut(text, MOST_CHARACTERS + 99);
  if (HINT.test(text)) {
    text = text.replace(UNWANTED, "$1");
    for (const pattern of PARAMETERS) {
      text = text.replace(pattern, (all: string, before: string, name: string) =>
        isSensitive(unescape(name)) ? `${before}${name}=${FIELD}` : all,
      );
    }
    for (const [kind, pattern, holds] of RULES) {
      for (let found; (found = pattern.exec(text)); pattern.lastIndex = found.index + 1) {
        const before = found[1] || "";
        let value = found[2] || "";
        // Among other numbers it begins and ends where one of them does.
        while (holds && value && !holds(value.replace(/\W/g, ""))) value = value[LEAST_NUMBER] ? value.replace(/\W*\w+$/, "") : "";
        const end = found.index + before.length;
        if (value) text = `${text.slice(0, end)}[redacted:${kind}]${text.slice(end + value.length)}`;
      }
    }
    text = text.replace(WORD, (word) => {
      const plain = unescape(word.replace(/\+/g, " "));
      const clean = spellings && plain !== word ? redactText(plain, spellings - 1) : plain;
      return clean === plain ? word : (/\[redacted:\w+\]/.exec(clean) || [FIELD])[0];
    });
  }
  return cut(text, MOST_CHARACTERS);
}

let told = 0;

/** A value of any shape with all that must not leave the page masked; what holds a secret by its name is masked whole. */
export function redact(value: unknown, depth = 0): unknown {
  if (!depth) told = 0;
  if (depth > 14 || (told += LEAST_TOLD) > MOST_TOLD) return null;
  if (/str|num|big/.test(typeof value)) {
    const text = redactText(`${value as bigint}`);
    told += text.length;
    if (typeof value !== "number" || text !== `${value}`) value = text;
  }
  if (!value || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.slice(0, MOST_VALUES).map((item) => redact(item, depth + 1));
  const { toJSON } = value as { toJSON?: () => unknown };
  if (toJSON) return redact(toJSON.call(value), depth + 1);
  const kept: Record<string, unknown> = {};
  for (const key of Object.keys(value).slice(0, MOST_VALUES)) {
    const member = (value as Record<string, unknown>)[key];
    kept[redactText(key)] =
      isSensitive(key) && member != null && typeof member !== "boolean" ? FIELD : redact(member, depth + 1);
  }
  return kept;
}

function isCard(digits: string): boolean {
  let sum = 0;
  for (let place = 1; place <= digits.length; place++) {
    const digit = +(digits[digits.length - place] as string);
    // Luhn's check; a doubled digit over nine counts its own digits.
    sum += place % 2 ? digit : digit > 4 ? 2 * digit - 9 : 2 * digit;
  }
  return sum % 10 === 0 && CARD.test(digits);
}

/** By its checksum (ISO 13616); which country's has how many characters, only the server knows. */
function isIban(number: string): boolean {
  let rest = 0;
  for (const letter of number.slice(4) + number.slice(0, 4)) {
    const value = parseInt(letter, 36);
    rest = (rest * (value > 9 ? 100 : 10) + value) % 97;
  }
  return rest === 1 && number.length > 14;
}
