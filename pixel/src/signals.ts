/** Whether the visitor asks not to be tracked, by Global Privacy Control or Do Not Track. */
export function objects(): boolean {
  const browser = navigator as Navigator & { globalPrivacyControl?: unknown; doNotTrack?: unknown };
  const asked = [browser.globalPrivacyControl, browser.doNotTrack, (window as { doNotTrack?: unknown }).doNotTrack];
  return asked.some((value) => /^(1|true|yes)$/.test(value as string));
}
