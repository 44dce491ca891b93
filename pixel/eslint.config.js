import js from "@eslint/js";
import tseslint from "typescript-eslint";

export default tseslint.config(
  { ignores: ["dist/", "build/", "demo/", "node_modules/"] },
  js.configs.recommended,
  {
    files: ["**/*.ts"],
    extends: [...tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { projectService: true } },
  },
  {
    files: ["src/**/*.ts"],
    rules: {
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      "no-restricted-globals": [
        "error",
        { name: "localStorage", message: "Storage can be blocked; go through storage.ts." },
        { name: "sessionStorage", message: "Storage can be blocked; go through storage.ts." },
        { name: "eval", message: "A page's policy may forbid it." },
      ],
      "no-restricted-syntax": [
        "error",
        {
          selector: "CallExpression[callee.name='addEventListener'] > Literal[value=/^(before)?unload$/]",
          message: "It keeps a page out of the back/forward cache; use pagehide.",
        },
        {
          selector: "CallExpression[callee.property.name=/^(preventDefault|stopPropagation)$/]",
          message: "The pixel watches; it never interferes.",
        },
      ],
    },
  },
  { files: ["src/storage.ts"], rules: { "no-restricted-globals": "off" } },
  { files: ["*.mjs"], languageOptions: { globals: { process: "readonly", console: "readonly", URL: "readonly", Buffer: "readonly" } } },
);
