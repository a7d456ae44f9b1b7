import { spawn } from "node:child_process";
import { once } from "node:events";
import { request } from "node:http";
import { AxeBuilder } from "@axe-core/playwright";
import type { Page } from "playwright-core";
import { describe, expect, it, onTestFinished } from "vitest";
import { openCounter } from "../../src/cli/demo/counter.ts";
import { chromiumProgram, launchChromium, NO_CHROMIUM } from "../support/chromium.ts";
import { mongoKind, NO_MONGO, startMongo } from "../support/mongo-server.ts";
import { NO_NATS, natsProgram, startNats } from "../support/nats-server.ts";
import { COMMAND, expectBuilt } from "../support/project.ts";

async function open(env?: NodeJS.ProcessEnv) {
  const ladder: string[] = [];
  const counter = await openCounter((line) => ladder.push(line), false, env);
  let bill: Promise<string> | undefined;
  const close = () => {
    bill ??= counter.close();
    return bill;
  };
  onTestFinished(async () => void (await close()));
  return { url: counter.url, ladder, close, killNode: counter.killNode };
}

async function openPage(url: string): Promise<{ page: Page; faults: string[] }> {
  const browser = await launchChromium();
  onTestFinished(() => browser.close());
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  const page = await context.newPage();
  const faults: string[] = [];
  page.on("pageerror", ({ message }) => faults.push(message));
  page.on("console", (said) => said.type() === "error" && faults.push(said.text()));
  page.setDefaultTimeout(20_000);
  await page.goto(url);
  return { page, faults };
}

/** What axe finds. The app servers' pages are their own business. */
const barriers = async (page: Page) =>
  (await new AxeBuilder({ page }).setLegacyMode(true).exclude("iframe").analyze()).violations;

const session = (page: Page, title: string) => page.getByRole("region", { name: new RegExp(`^${title}, session`) });

describe("tollgate demo --browser: a page for clients, in Chromium (M2, M9)", () => {
  it("signs in, opens services, buys, changes, opens another beside, hangs up, and has it on the bill", {
    timeout: 90_000,
  }, async ({ skip }) => {
    skip(chromiumProgram === undefined, NO_CHROMIUM);
    const { url, ladder, close } = await open();
    const { page, faults } = await openPage(url);
    expect(await barriers(page)).toEqual([]);
    await page.getByRole("button", { name: "Sign in" }).click();

    await page.getByRole("button", { name: "Open Wine shop" }).click();
    const wine = session(page, "Wine shop");
    await wine.locator("iframe").contentFrame().getByRole("button", { name: "Buy" }).first().click();
    await wine.locator("iframe").contentFrame().getByText("it is on your bill").waitFor();
    const bill = page.getByRole("region", { name: "Bill" });
    await bill.getByText("Rioja Crianza").waitFor();
    await bill
      .getByRole("listitem")
      .filter({ hasText: /^Wine shop, .*: 1\d\.\d\d EUR$/ })
      .waitFor(); // what it costs so far
    expect(await barriers(page)).toEqual([]);

    await wine.getByRole("combobox").selectOption({ label: "Brewery" });
    await wine.getByRole("button", { name: "Open it beside" }).click();
    await session(page, "Brewery").locator("iframe").contentFrame().getByText("Brewery").waitFor();
    await wine.getByRole("combobox").selectOption({ label: "Grappa" });
    await wine.getByRole("button", { name: "Change to it" }).click();
    const grappa = session(page, "Grappa");
    await grappa.waitFor();
    await page.getByRole("button", { name: "Open Two book shops at once" }).click();
    await expect.poll(() => session(page, "Two book shops at once").count(), { timeout: 20_000 }).toBe(2);
    expect(await page.locator("header").innerText()).toContain("4 open");

    await grappa.getByRole("button", { name: "End" }).click();
    await grappa.getByText("ended by you").waitFor();
    await bill.getByText("Delivery").waitFor();
    expect(faults).toEqual([]);
    const text = await close();
    for (const line of [/Rioja Crianza +1 x 12\.50 +12\.50 EUR/, /Delivery +1 x 4\.90/, /^beer$/m, /^grappa$/m])
      expect(text).toMatch(line);
    expect(text.match(/^ {2}\S.*(north|south)-books/gm)).toHaveLength(2);
    expect(ladder.join("\n")).toMatch(/INVITE wine, signed/);
  });

  it("goes on when the node is killed by which it came: its session, what it costs, and the bill (P3)", {
    timeout: 90_000,
  }, async ({ skip }) => {
    skip(chromiumProgram === undefined, NO_CHROMIUM);
    skip(!natsProgram, NO_NATS);
    skip(mongoKind() === undefined, NO_MONGO);
    expectBuilt();
    const nats = await startNats();
    onTestFinished(() => nats.destroy());
    const mongo = await startMongo();
    onTestFinished(() => mongo.stop());
    const { url, close, killNode } = await open({ NATS_URL: nats.url, MONGODB_URL: mongo.url("mine") });
    const { page } = await openPage(url);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("button", { name: "Open Wine shop" }).click();
    const wine = session(page, "Wine shop");
    const shop = wine.locator("iframe").contentFrame();
    await shop.getByRole("button", { name: "Buy" }).first().click();
    const bill = page.getByRole("region", { name: "Bill" });
    await bill.getByText("Rioja Crianza").waitFor();

    await killNode!();
    await shop.getByRole("link", { name: "Buy more" }).click();
    await shop.getByRole("button", { name: "Buy" }).first().click();
    await bill
      .getByRole("listitem")
      .filter({ hasText: /^Wine shop, .*: 2\d\.\d\d EUR$/ })
      .waitFor(); // what it costs so far, now at the other node
    await wine.getByRole("button", { name: "End" }).click();
    await wine.getByText("ended by you").waitFor();
    await bill.getByText("Delivery").waitFor();
    expect((await close()).match(/Rioja Crianza +1 x 12\.50 +12\.50 EUR/g)).toHaveLength(2);
  });

  it("says what went wrong, also on a telephone's screen", { timeout: 60_000 }, async ({ skip }) => {
    skip(chromiumProgram === undefined, NO_CHROMIUM);
    const { url } = await open();
    const { page } = await openPage(url);
    await page.setViewportSize({ width: 360, height: 740 });
    await page.getByLabel("Password").fill("guessed");
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("button", { name: "Open Wine shop" }).click();
    await page.getByRole("alert").getByText("Open Wine shop: 401 Unauthorized").waitFor();
    expect(await page.evaluate("document.documentElement.scrollWidth <= innerWidth")).toBe(true);
  });

  it("is for this machine alone, and runs nothing of others", async () => {
    const { url } = await open();
    const page = await fetch(url);
    expect(page.headers.get("content-security-policy")).toMatch(
      /default-src 'none'; script-src 'self';.* connect-src 'self' ws:\/\/127\.0\.0\.1:\d+;/,
    );
    expect(await page.text()).not.toMatch(/<script>|https?:\/\//);
    const rebound = await new Promise<number>((resolve) => {
      request(`${url}settings`, { headers: { host: "evil.example" } }, (answer) => resolve(answer.statusCode!)).end();
    });
    expect(rebound).toBe(421);
    expect((await fetch(`${url}settings`, { method: "POST" })).status).toBe(405);
    expect((await fetch(`${url}../../package.json`)).status).toBe(404);
  });

  it("ends by Ctrl-C with the bill", { timeout: 30_000 }, async () => {
    expectBuilt();
    const child = spawn(process.execPath, [COMMAND, "demo", "--browser"]);
    onTestFinished(() => void child.kill("SIGKILL"));
    let said = "";
    child.stdout.on("data", (chunk) => {
      said += chunk;
    });
    await expect.poll(() => said, { timeout: 20_000 }).toContain("in a browser on this machine");
    child.kill("SIGINT");
    const [code] = await once(child, "exit");
    expect(said).toContain("Bill for alice");
    expect(code).toBe(0);
  });
});
