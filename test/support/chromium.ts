import { existsSync } from "node:fs";
import { type Browser, chromium } from "playwright-core";

/** Where Debian and others put it; CHROMIUM names another one. */
const PLACES = [
  process.env.CHROMIUM ?? "",
  ...["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"].map((name) => `/usr/bin/${name}`),
];

/** Undefined: there is none. */
export const chromiumProgram = PLACES.find((path) => path !== "" && existsSync(path));
export const NO_CHROMIUM = "chromium is not installed (Debian: apt-get install chromium)";

export const launchChromium = (): Promise<Browser> =>
  chromium.launch({ executablePath: chromiumProgram!, args: ["--no-sandbox", "--disable-gpu"] });
