// The server's table of what must not be stored, as the pixel needs it: the module "rules" of src/redact.ts.
import { readFileSync } from "node:fs";
import toRegexRange from "to-regex-range";

const TABLE = new URL("../functions/collect/rules.json", import.meta.url);

/** An esbuild plugin that makes the module. */
export const rules = {
  name: "rules",
  setup(build) {
    build.onResolve({ filter: /^rules$/ }, () => ({ path: "rules", namespace: "rules" }));
    build.onLoad({ filter: /.*/, namespace: "rules" }, () => ({ contents: written(), watchFiles: [TABLE.pathname] }));
  },
};

/** Each expression is written out, since one that is put together at run time weighs more. */
function written() {
  const table = JSON.parse(readFileSync(TABLE, "utf8"));
  // A word and its plural are one.
  const spelled = (...words) => words.flat().join("|").replace(/ /g, "_").replace(/\b(\w+)\|\1(\w)\b/g, "$1$2?");
  const harmless = `_(?:${spelled(table.harmless_first_words)})_|.*_(?:${spelled(table.harmless_last_words)})_$`;
  const pairs = grouped(table.sensitive_pairs).join("|").replace(/ /g, "_?");
  const sensitive = `_(?:${spelled(table.sensitive_words)}|${pairs})s?_|(?:${spelled(table.sensitive_endings)})s?_$`;
  return [
    `export const SENSITIVE = /^_(?:${spelled(table.sensitive_keys)})_$|^(?!${harmless}).*(?:${sensitive})/;`,
    // A domain ends as no file's name does, and nothing goes on after it.
    `export const EMAIL = /()([\\w.%+\u00a1-\uffff-]{1,64}@(?:[\\w\u00a1-\uffff-]+\\.)+(?!(?:${spelled(table.asset_endings)})\\b)(?:[A-Za-z]{2,}|xn--[\\w-]+)(?!\\.?[\\w-]))/g;`,
    `export const CARD = /${issued(table.card_issuers)}/;`,
    `export const SECRETS = ${JSON.stringify(table.secrets)};`,
  ].join("\n");
}

/** Pairs of words that begin or end alike, as one. */
function grouped(pairs) {
  const seconds = gather(pairs.map((pair) => pair.split(" ")));
  const firsts = gather(Object.entries(seconds).map(([first, rest]) => [oneOf(rest), first]));
  return Object.entries(firsts).map(([rest, first]) => `${oneOf(first)} ${rest}`);
}

/** From pairs of a name and a value, the values by their name. */
function gather(pairs) {
  const gathered = {};
  for (const [name, value] of pairs) (gathered[name] ??= []).push(value);
  return gathered;
}

function oneOf(words) {
  return words.length > 1 ? `(?:${words.join("|")})` : words[0];
}

/** The numbers that an issuer gives out, by their first digits and their lengths. */
function issued(issuers) {
  const byRest = gather(
    issuers.map(({ from, to, lengths: [least, most] }) => [
      `.{${least - from.length},${most - from.length}}`.replace(/(\d+),\1\}/, "$1}"),
      toRegexRange(+from, +to, { shorthand: true }).replace(/^\(\?:(.*)\)$/, "$1"),
    ]),
  );
  return `^(?:${Object.entries(byRest).map(([rest, starts]) => oneOf(shared(starts.join("|").split("|"))) + rest).join("|")})$`;
}

/** Numbers of two digits with the same first one, as one. */
function shared(starts) {
  const seconds = gather(starts.map((start) => (/^\d(\d|\[.*\])$/.test(start) ? [start[0], start.slice(1).replace(/[[\]]/g, "")] : [start, ""])));
  return Object.entries(seconds).map(([first, rest]) => (rest.length > 1 ? `${first}[${rest.join("")}]` : rest[0].length > 1 ? `${first}[${rest[0]}]` : first + rest[0]));
}
