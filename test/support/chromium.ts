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

/** `more`: further arguments. */
export const launchChromium = (more: readonly string[] = []): Promise<Browser> =>
  chromium.launch({ executablePath: chromiumProgram!, args: ["--no-sandbox", "--disable-gpu", ...more] });

/** A microphone that beeps each second, and no question whether a page may hear it. */
export const FAKE_MICROPHONE = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"];
