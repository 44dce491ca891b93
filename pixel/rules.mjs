// The server's table of what must not be stored, as the pixel needs it: the module "rules" of src/redact.ts.
import { readFileSync } from "node:fs";

const TABLE = new URL("../functions/collect/rules.json", import.meta.url);

/** An esbuild plugin that makes the module. */
export const rules = {
  name: "rules",
  setup(build) {
    build.onResolve({ filter: /^rules$/ }, () => ({ path: "rules", namespace: "rules" }));
    build.onLoad({ filter: /.*/, namespace: "rules" }, () => ({ contents: written(), watchFiles: [TABLE.pathname] }));
  },
};

/** Names are compared in one spelling: their words between underscores. */
function written() {
  const table = JSON.parse(readFileSync(TABLE, "utf8"));
  const spelled = (words) => words.map((word) => word.replace(/ /g, "_")).join("|");
  const values = {
    SENSITIVE: `_(?:${spelled([...table.sensitive_words, ...table.sensitive_pairs])})_|_(?:${spelled(table.sensitive_last_words)})_$`,
    WHOLE: `^(${spelled(table.sensitive_keys)})$`,
    HARMLESS: `^_(${spelled(table.harmless_first_words)})_|_(${spelled(table.harmless_last_words)})_$`,
    ASSETS: `^(${spelled(table.asset_endings)})$`,
    SECRETS: table.secrets,
  };
  const issuers = table.card_issuers.map(({ from, to, lengths }) => [from, to, ...lengths]);
  return [
    ...Object.entries(values).map(([name, value]) => `export const ${name} = ${JSON.stringify(value)};`),
    `export const ISSUERS = ${JSON.stringify(issuers)};`,
  ].join("\n");
}
