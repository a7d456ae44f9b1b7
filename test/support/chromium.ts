import { existsSync } from "node:fs";
import { type Browser, chromium } from "playwright-core";
import { onTestFinished } from "vitest";

const PATHS = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/** Debian's Chromium; undefined where it is not installed. */
export const chromiumProgram: string | undefined = PATHS.find((path) => existsSync(path));
export const NO_CHROMIUM = "Chromium is not installed: apt-get install chromium";

/** A browser that closes with the test. */
export async function openBrowser(): Promise<Browser> {
  const browser = await chromium.launch({ executablePath: chromiumProgram!, args: ["--no-sandbox"] });
  onTestFinished(() => browser.close());
  return browser;
}
