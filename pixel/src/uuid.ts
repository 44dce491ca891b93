/** A UUIDv7 (RFC 9562, 5.7): it begins with the time, so that ids made one after another lie side by side. */
export function uuid(now: number): string {
  // Half of a byte of the variant is not random, which leaves 72 bits.
  return `0${now.toString(16)}${identifier()}`.replace(/^(.{8})(.{4})(...)(...)(.{12}).*/, "$1-$2-7$3-8$4-$5");
}

/** 128 random bits: an id that says nothing about whom it is given to. */
export function identifier(): string {
  return crypto.getRandomValues(new Uint8Array(16)).reduce((text, byte) => text + (byte + 256).toString(16).slice(1), "");
}
