/* What must not leave the page is masked: secrets by their field's name, and what tells by its shape what it is.
   The rules are the server's own table; both are held to the same examples. */
import { ASSETS, HARMLESS, ISSUERS, SECRETS, SENSITIVE, WHOLE } from "rules";

const FIELD = "[redacted:field]";
const whole = new RegExp(WHOLE);
const harmless = new RegExp(HARMLESS);
const assets = new RegExp(ASSETS);
const sensitive = new RegExp(SENSITIVE);

/** What stands before a number, but not as a part of it; a browser that cannot look back has it in the match. */
const BEFORE = "(^|[^0-9A-Za-z.-])";
const AFTER = "(?![0-9A-Za-z]|[.-][0-9A-Za-z])";
const CARD = new RegExp(`${BEFORE}([0-9](?:[ -]?[0-9]){13,18})${AFTER}`, "g");
const SSN = new RegExp(`${BEFORE}(?!000|666|9)[0-9]{3}([-. ])(?!00)[0-9]{2}\\2(?!0000)[0-9]{4}${AFTER}`, "g");
const IBAN = /(^|[^0-9A-Za-z])([A-Z]{2}[0-9]{2}(?:[ -]?[A-Z0-9]){11,30})(?![0-9A-Za-z])/g;
const PHONE = /(^|[^0-9A-Za-z])((?:\+|%2[Bb])[1-9](?:[ ().-]{0,2}[0-9]){7,14})(?![0-9A-Za-z])/g;
const SECRET = new RegExp(`(^|[^0-9A-Za-z])(${SECRETS})(?![0-9A-Za-z])`, "g");
const EMAIL = /[A-Za-z0-9._%+-]{1,64}(?:@|%40)([A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8})/g;
const TOP_LEVEL = /^([a-z]{2,63}|xn--[a-z0-9-]{2,59})$/;
const PARAMETER = /([?&;#])([^?=&;#\s]{1,128})=([^&;#\s]*)/g;
const USERINFO = /(:\/\/)[^/?#\s@]{1,256}@/g;

/** Whether a field, or a parameter of a URL, holds a secret by its name. */
export function isSensitive(key: string): boolean {
  if (whole.test(key.toLowerCase())) return true;
  const words = `_${key
    .replace(/([a-z0-9])([A-Z])/g, "$1_$2")
    .replace(/([A-Z])([A-Z][a-z])/g, "$1_$2")
    .toLowerCase()}_`.replace(/[^a-z0-9ñç]+/g, "_");
  return !harmless.test(words) && sensitive.test(words);
}

/** A text with all that must not leave the page masked. */
export function redactText(text: string): string {
  return text
    .replace(USERINFO, "$1")
    .replace(PARAMETER, (all: string, before: string, name: string) =>
      isSensitive(name.replace(/%5b/gi, "[").replace(/%5d/gi, "]")) ? `${before}${name}=${FIELD}` : all,
    )
    .replace(SECRET, "$1[redacted:secret]")
    .replace(CARD, (all: string, before: string, number: string) =>
      isCard(number.replace(/[ -]/g, "")) ? `${before}[redacted:card]` : all,
    )
    .replace(SSN, "$1[redacted:ssn]")
    .replace(IBAN, (all: string, before: string, number: string) =>
      isIban(number.replace(/[ -]/g, "")) ? `${before}[redacted:iban]` : all,
    )
    .replace(PHONE, "$1[redacted:phone]")
    .replace(EMAIL, (all: string, domain: string) => {
      const ending = domain.slice(domain.lastIndexOf(".") + 1).toLowerCase();
      return TOP_LEVEL.test(ending) && !assets.test(ending) ? "[redacted:email]" : all;
    });
}

/** A value of any shape with all that must not leave the page masked; what holds a secret by its name is masked whole. */
export function redact(value: unknown, depth = 0): unknown {
  if (typeof value === "string") return redactText(value);
  if (typeof value === "number") return isCard(String(value)) ? "[redacted:card]" : value;
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
  const length = digits.length;
  return (
    ISSUERS.some(([from, to, least, most]) => {
      const start = digits.slice(0, from.length);
      return start >= from && start <= to && length >= least && length <= most;
    }) && passesLuhn(digits)
  );
}

function passesLuhn(digits: string): boolean {
  let sum = 0;
  for (let place = 1; place <= digits.length; place++) {
    const digit = +(digits[digits.length - place] || 0);
    // A doubled digit over nine counts its own digits.
    sum += place % 2 ? digit : digit > 4 ? 2 * digit - 9 : 2 * digit;
  }
  return sum % 10 === 0;
}

/** By its checksum (ISO 13616); which country's has how many characters, only the server knows. */
function isIban(number: string): boolean {
  let rest = 0;
  for (const letter of Array.from(number.slice(4) + number.slice(0, 4))) rest = +`${String(rest)}${String(parseInt(letter, 36))}` % 97;
  return rest === 1;
}
