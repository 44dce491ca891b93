/** Made of the server's table by rules.mjs; names are spelled `_like_this_`. */
declare module "rules" {
  export const SENSITIVE: RegExp;
  export const EMAIL: RegExp;
  /** What an issuer of cards gives out, but for the check digit. */
  export const CARD: RegExp;
  /** What tells by its beginning that it is a key or a token. */
  export const SECRETS: string;
}
