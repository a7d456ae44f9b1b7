import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, it } from "vitest";
import { chromiumProgram, launchChromium, NO_CHROMIUM } from "../../support/chromium.ts";

let running: Promise<Browser> | undefined;
const open = new Set<BrowserContext>();

/** A test in a real browser; where there is none it is skipped, with the reason. */
export function browserTest(title: string, act: () => Promise<void>, timeoutMs = 120_000): void {
  it(title, { timeout: timeoutMs }, async ({ skip }) => {
    skip(chromiumProgram === undefined, NO_CHROMIUM);
    try {
      await act();
    } finally {
      for (const context of open) await context.close();
      open.clear();
    }
  });
}

afterAll(async () => (await running)?.close());

export interface Look {
  readonly width?: number;
  readonly height?: number;
  readonly dark?: boolean;
}

/** What a page asks for first is answered and shown. */
export async function isShown(page: Page): Promise<void> {
  await page.getByRole("heading", { level: 1 }).waitFor();
  await page.locator("main", { hasText: "The relay is asked" }).waitFor({ state: "detached" });
  if (page.url().includes("#/call/")) await page.locator("figure.actor").first().waitFor();
}

/** What the page complained of: errors, refusals by its policy, dialogs that somebody opened. */
export interface Seen {
  readonly page: Page;
  readonly complaints: readonly string[];
}

/** Opens an address of the console. `url`: with `#/...`. */
export async function visit(url: string, { width = 1440, height = 900, dark = false }: Look = {}): Promise<Seen> {
  running ??= launchChromium();
  const context = await (await running).newContext({
    viewport: { width, height },
    colorScheme: dark ? "dark" : "light",
    reducedMotion: "reduce",
  });
  open.add(context);
  context.setDefaultTimeout(30_000);
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on("pageerror", (error) => complaints.push(`error: ${error.message}`));
  page.on("console", (message) => {
    const { url = "" } = message.location();
    // What the API refuses is no fault of the page; the browser says it all the same.
    if (message.type() === "error" && !url.includes("/v1/")) complaints.push(message.text());
  });
  page.on("dialog", (dialog) => {
    complaints.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on("request", (request) => {
    if (new URL(request.url()).host !== new URL(url).host && !request.url().startsWith("data:"))
      complaints.push(`asked of another host: ${request.url()}`);
  });
  await page.goto(url);
  return { page, complaints };
}
