/* The types of what the pixel puts on a page: add this file to a project, and `evothesis` is known there. */

/** What travels as JSON. Objects in it may lie 14 deep; what tells of a secret by its name is masked. */
export type EvothesisData = object;

export interface EvothesisConsent {
  /** Whether the visitor agrees to be counted; null: somebody is going to ask. */
  analytics: boolean | null;
  /** Who asked; "api" unless said otherwise. */
  source?: string;
}

export interface Evothesis {
  /**
   * Store an event of one's own.
   *
   * `name`: letters, digits and underscores, spelled `like_this` on arrival; at most 50 characters.
   * `idle`: it is not the visitor's doing, and lets no session go on or begin.
   */
  (command: "track", name: string, data?: EvothesisData, idle?: boolean): void;
  /** Count a page view now, whatever the address says; the one before it is left. */
  (command: "page", data?: EvothesisData): void;
  /** Say what the visitor agreed to. A no erases at once what was kept, and stops. */
  (command: "consent", consent: EvothesisConsent): void;
  /** The same. It is there when the script is, while calls of `evothesis(…)` wait for it in the queue. */
  consent(consent: EvothesisConsent): void;
  /** The calls that wait for the script. */
  q?: ArrayLike<unknown>[];
}

declare global {
  interface Window {
    evothesis: Evothesis;
  }
  // A variable of the page's, which only `var` is.
  var evothesis: Evothesis;
}
