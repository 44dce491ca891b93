/** The first characters of a text; never half of one, which no server takes for text. */
export function cut(text: string, characters: number): string {
  return text.slice(0, characters).replace(/[\uD800-\uDBFF]$/, "");
}
