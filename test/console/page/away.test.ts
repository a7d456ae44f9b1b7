import { afterAll, beforeAll, describe, expect } from "vitest";
import { revokeToken } from "../../../src/operations/tokens.ts";
import { browserTest, visit } from "./browser.ts";
import { type Lab, openLab } from "./console-lab.ts";

/* What the page says when it does not get what it asks for: it claims nothing that it does not know. */

let lab: Lab;
beforeAll(async () => {
  lab = await openLab();
}, 30_000);
afterAll(() => lab.close());

const AWAY = "The relay does not answer. This page asks again by itself.";

describe("the console's pages, when they do not get what they ask for (P1)", () => {
  browserTest("do not say that there is nothing before they know, nor when the relay refuses to tell", async () => {
    for (const [path, asked, claim] of [
      ["money?view=letters", "**/v1/dead-letters", "Everything is billed."],
      ["money?view=letters", "**/v1/refused-charges?*", "No charge was refused."],
      ["people", "**/v1/lockouts", "Nobody has to wait after failed sign-ins."],
      ["network", "**/v1/nodes", "This relay is alone: no cluster is configured."],
      ["network", "**/v1/app-servers", "No app server is registered."],
      ["calls", "**/v1/calls?*", "No call is on record"],
      ["calls?view=standing", "**/v1/sessions", "Nobody is in a session."],
    ] as const) {
      const { page } = await visit(lab.at("try", lab.operator));
      let answer = () => {};
      const mayAnswer = new Promise<void>((resolve) => {
        answer = resolve;
      });
      await page.route(asked, async (route) => {
        await mayAnswer;
        await route.fulfill({ status: 503, json: { title: "busy", detail: "The store is not there." } });
      });
      await page.evaluate(`location.hash = "#/${path}"`);
      await page.getByText("The relay is asked.").first().waitFor();
      expect(await page.getByText(claim).count(), path).toBe(0);
      answer();
      await page.getByRole("alert").getByText("The store is not there.").waitFor();
      expect(await page.getByText(claim).count(), path).toBe(0);
    }
  });

  browserTest("show nobody's bill under another name", async () => {
    const { page } = await visit(lab.at("money?user=alice", lab.operator));
    await page.getByRole("heading", { name: /^Bill of alice/ }).waitFor();
    await page.getByLabel("User", { exact: true }).fill("nobody");
    await page.getByRole("alert").waitFor();
    expect(await page.getByRole("heading", { name: /^Bill of/ }).count()).toBe(0);
  });

  browserTest("say why they ask for a token: it is unknown, or was taken away while the page was open", async () => {
    const unknown = await visit(lab.at("calls", `demo.${"0".repeat(64)}`));
    await unknown.page.getByRole("alert").getByText("does not know this token").waitFor();
    const { page } = await visit(lab.at("calls?view=standing", await lab.token("viewer")));
    await page.getByText("0 of 0 standing").waitFor();
    const { config, relay } = lab.portal;
    const caller = { name: "test", role: "owner", from: "test" } as const;
    const context = { config, configName: "test", store: relay.store, relay: undefined, caller, now: () => Date.now() };
    await revokeToken.run(context, { name: "t1" });
    await relay.reload();
    await page.getByRole("alert").getByText("its time is over").waitFor();
    // On the relay's own machine it may be read without one.
    await page.getByRole("button", { name: "Go on without a token" }).click();
    await page.getByText("this machine, reading").waitFor();
    await page.getByText("0 of 0 standing").waitFor();
  });

  browserTest("ask again by themselves when the relay was away, whatever page is open", async () => {
    await (await lab.client.request("wine")).end();
    const call = `call/${await lab.newest()}`;
    const { page } = await visit(lab.at("try", lab.operator));
    await page.getByRole("button", { name: "Place the call" }).waitFor();
    let isAway = true;
    await page.route("**/v1/**", (route) => (isAway ? route.abort("connectionrefused") : route.fallback()));
    // This page asks for nothing unless somebody presses the button.
    await page.getByRole("button", { name: "Place the call" }).click();
    const banner = page.locator(".trouble");
    await banner.getByText(AWAY).waitFor();
    isAway = false;
    await banner.waitFor({ state: "detached" });
    // A call that is over is asked for once.
    isAway = true;
    await page.evaluate(`location.hash = "#/${call}"`);
    await banner.getByText(AWAY).waitFor();
    await page.getByRole("alert").getByText("Not done").waitFor();
    isAway = false;
    await page.locator("figure.actor").first().waitFor();
    // Whoever opens the page meanwhile is not asked for a token that they have given.
    isAway = true;
    await page.reload();
    await banner.getByText(AWAY).waitFor();
    expect(await page.getByRole("heading", { name: "Sign in" }).count()).toBe(0);
    isAway = false;
    await page.locator("figure.actor").first().waitFor();
  });

  browserTest("see that a call has ended while nothing was heard of it", async () => {
    const session = await lab.client.request("wine");
    const { page } = await visit(lab.at(`call/${await lab.newest()}`, lab.operator));
    await page.locator(".badge", { hasText: "● running" }).waitFor();
    // As after a restart of the relay: the stream breaks, a new one knows nothing of this call, and says so.
    const gap = "id: new-0\nevent: gap\ndata: {}\n\n";
    await page.route("**/v1/events?*", (route) => route.fulfill({ contentType: "text/event-stream", body: gap }));
    await page.evaluate('location.hash = "#/try"');
    await page.getByRole("button", { name: "Place the call" }).waitFor();
    await page.goBack();
    await page.locator(".badge", { hasText: "● running" }).waitFor();
    await session.end();
    await page.locator(".badge", { hasText: "over" }).waitFor();
  });

  browserTest("are loaded when they can be, and take a name that no page has for no page", async () => {
    const { page, complaints } = await visit(lab.at("constructor", lab.operator));
    await page.getByRole("heading", { name: "Calls" }).waitFor();
    expect(complaints).toEqual([]);
    let isBroken = true;
    await page.route("**/console/money-*.js", (route) => (isBroken ? route.abort() : route.fallback()));
    await page.getByRole("link", { name: "Money" }).click();
    await page.getByText("This page was not loaded").waitFor();
    await page.getByRole("link", { name: "People" }).click();
    await page.getByRole("heading", { name: "People" }).waitFor();
    isBroken = false;
    await page.getByRole("link", { name: "Money" }).click();
    await page.getByRole("heading", { name: "Money" }).waitFor();
  });

  browserTest("draw the graph as wide as there is room, so that its numbers can be read on a telephone", async () => {
    for (const width of [360, 1440]) {
      const { page } = await visit(lab.at("network", lab.operator), { width });
      const number = page.locator(".graph text").first();
      await number.waitFor();
      await expect.poll(async () => Math.round((await number.boundingBox())!.height)).toBeGreaterThanOrEqual(11);
      await expect.poll(async () => Math.round((await number.boundingBox())!.height)).toBeLessThanOrEqual(18);
    }
  });
});
