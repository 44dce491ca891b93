/** The first characters of a text; never half of one, which no server takes for text. */
export function cut(text: string, characters: number): string {
  return text.slice(0, characters).replace(/[\uD800-\uDBFF]$/, "");
}

/** A moment as all of the events have it. Raises a RangeError where it is none. */
export function iso(ms: number): string {
  return new Date(ms).toISOString();
}

/** A name spelled `like_this`, whichever way its words were told apart. */
export function snake(name: string): string {
  return name
    .replace(/[a-z0-9](?=[A-Z])|[A-Z](?=[A-Z][a-z])/g, "$&_")
    .toLowerCase()
    .replace(/[^a-z0-9ñç]+/g, "_");
}
