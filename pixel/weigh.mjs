// What a file weighs on its way to a browser.
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

/** A text as small as servers can send it to a browser of today. */
export const brotli = (text) =>
  brotliCompressSync(text, { params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_LGWIN]: 24 } });

/** A text as small as servers can send it to every browser. */
export const gzip = (text) => gzipSync(text, { level: 9 });

/** The bytes of a text as it is, and compressed. */
export function weigh(text) {
  return { raw: Buffer.byteLength(text), gzip: gzip(text).length, brotli: brotli(text).length };
}
