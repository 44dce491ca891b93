/** Made of the server's table by rules.mjs: sources of regular expressions over names that are spelled `_like_this_`. */
declare module "rules" {
  export const SENSITIVE: string;
  export const WHOLE: string;
  export const HARMLESS: string;
  export const ASSETS: string;
  export const SECRETS: string;
  /** The first digits from and to, the shortest and the longest number. */
  export const ISSUERS: [from: string, to: string, least: number, most: number][];
}
