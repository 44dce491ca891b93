/** A UUIDv7 (RFC 9562, 5.7): it begins with the time, so that ids made one after another lie side by side. */
export function uuid(now: number): string {
  const time = `0${now.toString(16)}`.slice(-12);
  const random = identifier();
  const variant = (8 + (parseInt(random.slice(-1), 16) % 4)).toString(16);
  return [time.slice(0, 8), time.slice(8), `7${random.slice(20, 23)}`, variant + random.slice(23, 26), random.slice(0, 12)].join("-");
}

/** 128 random bits: an id that says nothing about whom it is given to. */
export function identifier(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => (byte + 256).toString(16).slice(1)).join("");
}
