import type { Page } from "playwright-core";
import { afterEach, beforeEach, describe, expect } from "vitest";
import { PASSWORD } from "../../e2e/portal.ts";
import { freePort, isInstalled } from "../../support/peers.ts";
import { sippClient, sippEnds, sippServer } from "../../support/sipp.ts";
import { temporaryFolder } from "../http-lab.ts";
import { browserTest, visit } from "./browser.ts";
import { type Lab, openLab } from "./console-lab.ts";

let lab: Lab;
beforeEach(async () => {
  lab = await openLab();
});
afterEach(() => lab.close());

const lit = (page: Page, chart: string) =>
  page.locator(`figure[data-chart=${chart}]`).first().getAttribute("data-state");
const reaches = (page: Page, chart: string, state: string) =>
  page.locator(`figure[data-chart=${chart}][data-state="${state}"]`).first().waitFor();

/** The states that a chart has while the time line goes from its beginning to its end, by the keyboard. */
async function stepped(page: Page, chart: string): Promise<string[]> {
  const slider = page.getByRole("slider", { name: "Moment of the call" });
  await slider.press("Home");
  const steps = Number(await slider.getAttribute("max"));
  const states: string[] = [];
  for (let i = 0; i < steps; i++) {
    await slider.press("ArrowRight");
    const [figure] = await page.locator(`figure[data-chart=${chart}]`).all();
    const state = await figure?.getAttribute("data-state");
    if (state && states.at(-1) !== state) states.push(state);
  }
  return states;
}

describe("the page of a call (P1)", () => {
  browserTest("shows a call of the SDK from INVITE to bill, its charts as its actors are, forth and back", async () => {
    const session = await lab.client.request("wine");
    const id = await lab.newest();
    const { page, complaints } = await visit(lab.at(`call/${id}`, lab.operator));
    await reaches(page, "session", "established.steady");
    expect(await lit(page, "request")).toBe("answered");
    await page.locator(".badge", { hasText: "● running" }).waitFor();

    // Live: what the app server charges now is there at once, and the arrow is named.
    await lab.session().charge({ item: "Riesling", unitPrice: "12.50", quantity: 2, currency: "EUR" });
    await page.locator(".charges").getByText("2 x Riesling at 12.50").waitFor();
    expect(await page.locator("figure[data-chart=session] .last").textContent()).toBe("charge: stays");
    expect(await page.locator("figure[data-chart=session] .way.on").count()).toBe(0); // it leaves nothing

    const bill = page.locator("[data-bill]");
    await bill.getByText("25.00 EUR").waitFor(); // while it runs

    await session.end();
    await reaches(page, "session", "terminated");
    await page.locator("figure[data-chart=session] .way.on").waitFor();
    await reaches(page, "billing", "chargeable");
    await bill.getByText("0.20 EUR").waitFor();

    // The same, step by step, now that it is over.
    for (const chart of ["request", "session"]) expect(await stepped(page, chart), chart).toEqual(lab.history(chart));
    expect(lab.history("session")).toEqual([
      "inviting.proceeding.steady",
      "answered",
      "established.steady",
      "terminating",
      "terminated",
    ]);
    const address = page.url();
    const back = page.getByRole("button", { name: "One step back" });
    await back.click();
    expect(page.url()).not.toBe(address);
    // The bill goes along: what was not on it at that moment says so.
    const late = () => bill.locator("tbody tr", { hasText: "later" }).allTextContents();
    expect(await late()).toEqual([]);
    await page.locator(".row.charge", { hasText: "charge.made" }).click();
    expect(await late()).toEqual([expect.stringMatching(/^timelater/)]);
    await back.click();
    expect(await late()).toHaveLength(2);
    await page.getByRole("button", { name: "To the beginning" }).click();
    expect(await late()).toHaveLength(2);
    expect(await page.locator("figure.actor").count()).toBe(0);
    expect(await page.locator(".row.later").count()).toBeGreaterThan(20);
    expect(complaints).toEqual([]);
  });

  browserTest("stops while the call goes on, follows it again, and leaves the focus where it was", async () => {
    const session = await lab.client.request("wine");
    const { page } = await visit(lab.at(`call/${await lab.newest()}`, lab.operator));
    await reaches(page, "session", "established.steady");
    const buy = (item: string) => lab.session().charge({ item, unitPrice: "1.00", currency: "EUR" });
    const told = page.locator(".charges");
    await page.getByRole("button", { name: "Stop here" }).focus();
    await page.keyboard.press("Enter");
    const moment = page.locator(".timeline output b");
    const before = await moment.textContent();
    await buy("Rum");
    await page.locator(".row.later", { hasText: "Rum" }).waitFor();
    expect(await moment.textContent()).toBe(before);
    expect(await told.getByText("Rum").count()).toBe(0);
    const focused = page.locator(":focus");
    expect(await focused.getAttribute("aria-label")).toBe("Follow the call");
    await page.keyboard.press("Enter");
    await told.getByText("Rum").waitFor();
    await buy("Ale");
    await told.getByText("Ale").waitFor();
    // A button that has nothing more to do keeps the focus, too.
    await page.getByRole("button", { name: "To the beginning" }).focus();
    await page.keyboard.press("Enter");
    expect(await focused.getAttribute("aria-disabled")).toBe("true");
    expect(await focused.getAttribute("aria-label")).toBe("To the beginning");
    await session.end();
  });

  browserTest("shows a call of SIPp, and ends it from the page", async () => {
    if (!isInstalled("sipp")) return;
    const folder = temporaryFolder();
    const appServer = {
      folder: folder.path,
      transport: "udp" as const,
      port: await freePort(),
      scenario: "server-call" as const,
    };
    await lab.portal.change(async (store) => {
      await store.appServers.put({ id: "winery", uri: `sip:127.0.0.1:${appServer.port}`, services: ["beer"] } as never);
      await store.services.put({ id: "beer" } as never);
    });
    await lab.portal.relay.reload();
    const server = sippEnds(await sippServer(appServer), appServer);
    const caller = {
      ...{ folder: folder.path, transport: "udp" as const, port: await freePort(), remotePort: lab.portal.udp },
      ...{ scenario: "client-call" as const, service: "beer", holdMs: 2_500, password: PASSWORD },
    };
    const client = sippEnds(await sippClient(caller), caller);
    const { page, complaints } = await visit(lab.at("calls?view=standing", lab.operator));
    await page.getByRole("link", { name: "alice" }).first().click();
    await reaches(page, "session", "established.steady");
    await Promise.all([client, server]);
    await reaches(page, "session", "terminated");
    expect(await stepped(page, "session")).toEqual(lab.history("session"));
    // A message opens on a click, whole, and its SDP is marked.
    await page
      .getByRole("button", { name: /client to relay: INVITE/ })
      .first()
      .click();
    expect(await page.locator(".whole pre").first().textContent()).toMatch(/^INVITE sip:beer@/);
    expect(await page.locator(".carries", { hasText: "SDP" }).count()).toBeGreaterThan(0);
    expect(complaints).toEqual([]);
    folder.remove();
  });

  browserTest("ends a call, for whoever may operate and has said it twice", async () => {
    const session = await lab.client.request("wine");
    const { page } = await visit(lab.at(`call/${await lab.newest()}`, lab.operator));
    await page.getByRole("button", { name: "End shop" }).click();
    await page.getByRole("button", { name: "End the session with shop" }).click();
    expect((await session.ended).by).toBe("remote");
    await reaches(page, "session", "terminated");
  });

  browserTest("shows what comes from SIP as text, whatever it looks like", async () => {
    const markup = `<img src=x onerror=alert(1)><script>alert(2)</script>&lt;b&gt;`;
    const call = {
      ...{ id: markup, kind: "invite", method: "INVITE", at: 1_000, callId: markup, source: markup, user: markup },
      ...{ uri: markup, service: markup, status: 486, reason: markup, why: markup, endedBy: markup, wholeMs: 5 },
      asked: [{ appServer: markup, session: markup, atMs: 1, status: 486, reason: markup }],
      ...{ failed: true, ladder: [], path: [], charges: [] },
    };
    const message = { kind: "message", at: 1_000, from: markup, to: "relay", label: `INVITE ${markup}`, error: false };
    const items = [
      {
        ...message,
        message: `INVITE sip:x SIP/2.0\r\nFrom: "${markup}" <sip:a@b>\r\nUser-Agent: ${markup}\r\n\r\n${markup}`,
      },
      { kind: "state", at: 1_001, chart: "session", actor: markup, event: markup, from: markup, to: markup },
      { kind: "charge", at: 1_002, session: markup, type: markup, text: markup },
      { kind: "timer", at: 1_003, session: markup, name: markup },
    ];
    const { page, complaints } = await visit(lab.at("try", lab.operator));
    await page.route("**/v1/calls?**", (route) => route.fulfill({ json: { calls: [call] } }));
    await page.route("**/v1/calls/*", (route) => route.fulfill({ json: { calls: [call] } }));
    await page.route("**/v1/calls/*/story", (route) => route.fulfill({ json: { items, leftOut: 0 } }));
    for (const path of ["calls", "call/x"]) {
      await page.evaluate(`location.hash = "#/${path}"`);
      await page.getByText("<img src=x").first().waitFor();
      if (path !== "calls") {
        await page.getByRole("button", { name: /: INVITE/ }).click();
        expect(await page.locator(".whole pre").first().textContent()).toContain(`User-Agent: ${markup}`);
      }
      expect(await page.locator("main img, main script, main b > script").count()).toBe(0);
      expect(complaints).toEqual([]);
    }
  });

  browserTest("shows what the record has of the time before a process took the call up, and says so", async () => {
    const at = 1_000_000;
    const step = (atMs: number, text: string) => ({ atMs, from: "client", to: "relay", text, error: false });
    const call = {
      ...{ id: "x", kind: "invite", method: "INVITE", at, callId: "c", source: "", uri: "sip:wine@x", status: 200 },
      ...{ wholeMs: 15_000, failed: false, ladder: [step(0, "INVITE sip:wine@x"), step(14_000, "BYE sip:wine@x")] },
    };
    const bye = { kind: "message", at: at + 14_000, from: "client", to: "relay", label: "BYE sip:wine@x" };
    const begins = { kind: "state", at: at + 12_500, chart: "session", actor: "s", event: "xstate.init", from: "" };
    const items = [{ ...begins, to: "established.steady" }, bye];
    const { page } = await visit(lab.at("try", lab.operator));
    await page.route("**/v1/calls/x", (route) => route.fulfill({ json: { calls: [call] } }));
    await page.route("**/v1/calls/x/story", (route) => route.fulfill({ json: { items, leftOut: 0 } }));
    await page.evaluate('location.hash = "#/call/x"');
    await page.getByText("Of the first 12.5 s no more is left than its record has").waitFor();
    const rows = await page.locator(".ladder button.row").allTextContents();
    expect(rows.map((text) => /^\+\d+\.\d{3}/.exec(text)?.[0])).toEqual(["+0.000", "+12.500", "+14.000"]);
  });

  browserTest("is moved through by keyboard: the ladder by arrow keys, a message by Enter", async () => {
    await (await lab.client.request("wine")).end();
    const { page } = await visit(lab.at(`call/${await lab.newest()}`, lab.operator));
    const rows = page.locator(".ladder button.row");
    await rows.first().waitFor();
    await rows.first().focus();
    await page.keyboard.press("End");
    await page.keyboard.press("Home");
    await page.keyboard.press("ArrowDown");
    const focused = page.locator(":focus");
    expect(await focused.textContent()).toContain("relay to client: 401 Unauthorized");
    await page.keyboard.press("Enter");
    expect(await focused.getAttribute("aria-expanded")).toBe("true");
    expect(await page.locator(".whole pre").first().textContent()).toMatch(/^SIP\/2.0 401/);
    expect(await page.locator("[role=status]").first().textContent()).toContain("401 Unauthorized");
  });
});
