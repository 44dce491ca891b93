/* What the page says in the attributes of the script's own element, and where the collector is. */

const current: unknown = document.currentScript;
// What a visitor may write into a page, an image that is named like it, is no script.
const element =
  current instanceof HTMLScriptElement
    ? current
    : document.querySelector<HTMLScriptElement>('script[data-endpoint],script[src*="/js/tracking"]');

/** The option `data-<name>` of the script's element; empty when it is not given. */
export function option(name: string): string {
  return (element && element.getAttribute(`data-${name}`)) || "";
}

/** The words of an option that is a list, separated by spaces or commas. */
export function words(name: string): string[] {
  return option(name).match(/[^\s,]+/g) || [];
}

/** Where events go: to where the script came from unless `data-endpoint` says otherwise. */
export const ENDPOINT = new URL(option("endpoint") || "/collect", (element && element.src) || location.href).href;
