/* What every page loads, as it is built. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { parse } from "acorn";

const FILES = readdirSync("dist").filter((name) => name.endsWith(".js"));

/** What tells one device from another without its owner's doing. */
const FINGERPRINTS =
  /toDataURL|getImageData|measureText|WebGL|getContext|AudioContext|Oscillator|RTCPeerConnection|hardwareConcurrency|deviceMemory|\.plugins|mimeTypes|getBattery|enumerateDevices|getVoices|\.fonts\b|maxTouchPoints|oscpu|getHighEntropyValues|userAgentData|navigator\.userAgent|\.platform\b|colorDepth|getTimezoneOffset|resolvedOptions/;

for (const name of FILES) {
  const code = readFileSync(`dist/${name}`, "utf8");

  void test(`${name} asks for nothing that only a fingerprint needs`, () => {
    assert.equal(FINGERPRINTS.exec(code)?.[0], undefined);
  });

  void test(`${name} parses in a browser of 2015`, () => {
    assert.doesNotThrow(() => parse(code, { ecmaVersion: 2015 }));
  });

  void test(`${name} needs no leave of a content security policy`, () => {
    assert.equal(/\beval\(|new Function|\bFunction\(|innerHTML|document\.write|insertAdjacentHTML|\.cssText|setAttribute\("style/.exec(code)?.[0], undefined);
  });
}
