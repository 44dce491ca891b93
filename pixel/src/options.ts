/* What the page says in the attributes of the script's own element, and where the collector is. */

const element = (document.currentScript ||
  document.querySelector('script[data-endpoint],script[src*="/js/tracking"]')) as HTMLScriptElement | null;

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
