// What a file weighs on its way to a browser.
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const BROTLI = { params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_LGWIN]: 24 } };

/** The bytes of a text as it is, and compressed as well as servers can. */
export function weigh(text) {
  return { raw: Buffer.byteLength(text), gzip: gzipSync(text, { level: 9 }).length, brotli: brotliCompressSync(text, BROTLI).length };
}
