import { AxeBuilder } from "@axe-core/playwright";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { chargeMade } from "../../../src/charging/events/events.ts";
import { aCharge, facts, JANUARY } from "../../charging/samples.ts";
import { until } from "../../support/until.ts";
import { browserTest, isShown, visit } from "./browser.ts";
import { type Lab, openLab } from "./console-lab.ts";

let lab: Lab;
beforeAll(async () => {
  lab = await openLab();
}, 30_000);
afterAll(() => lab.close());

const PAGES = [
  "calls",
  "calls?view=standing",
  "charts/session?state=established.steady",
  "network",
  "people",
  "people/alice",
  "money?user=alice",
  "money?view=settlement&appServer=shop",
  "money?view=letters",
  "try",
];

describe("the console's pages", () => {
  for (const dark of [false, true])
    browserTest(
      `are such that axe finds nothing, ${dark ? "dark" : "light"}`,
      async () => {
        const session = await lab.client.request("wine");
        const call = `call/${await lab.newest()}`;
        // The colours are the same on all of them.
        const paths = dark ? [call, "network", "charts/session"] : [...PAGES, call, `${call}?at=9`];
        for (const path of paths) {
          const { page, complaints } = await visit(lab.at(path, lab.operator), { dark });
          await isShown(page);
          for (const summary of await page.locator("summary").all()) await summary.click();
          const { violations } = await new AxeBuilder({ page }).analyze();
          expect(
            violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`),
            path,
          ).toEqual([]);
          expect(complaints, path).toEqual([]);
        }
        await session.end();
      },
      120_000,
    );

  browserTest("fit a telephone: nothing but tables and pictures is wider than it", async () => {
    await (await lab.client.request("wine")).end();
    for (const path of [...PAGES, `call/${await lab.newest()}`]) {
      const { page } = await visit(lab.at(path, lab.operator), { width: 360, height: 740 });
      await isShown(page);
      for (const summary of await page.locator("summary").all()) await summary.click();
      expect(await page.evaluate("document.documentElement.scrollWidth"), path).toBeLessThanOrEqual(360);
      // Addresses stand on one line: in a column of one letter a line they cannot be read.
      const codes = await page
        .locator(".rows code")
        .evaluateAll((all) => all.map((one) => one.getClientRects().length));
      expect(Math.max(0, ...codes), path).toBeLessThanOrEqual(1);
    }
  });

  browserTest("list 10,000 calls that stand, and filter them, without freezing", async () => {
    const sessions = Array.from({ length: 10_000 }, (_, i) => ({
      ...{ id: `s${i}`, call: `c${i}`, user: `user${i}`, service: i % 2 ? "wine" : "beer", appServer: `shop${i % 7}` },
      ...{ state: "established.steady", startedAt: 1_000_000 + i, durationMs: 5_000 + i },
    }));
    const { page } = await visit(lab.at("try", lab.operator));
    await page.route("**/v1/sessions", (route) => route.fulfill({ json: { sessions } }));
    await page.evaluate('location.hash = "#/calls?view=standing"');
    await page.getByText("10,000 of 10,000 standing").waitFor();
    expect(await page.locator("tbody tr").count()).toBeLessThan(120);
    // The longest that the page does not answer while somebody types.
    const longest = await page.evaluate(`(async () => {
      let last = performance.now();
      let most = 0;
      const tick = () => {
        most = Math.max(most, performance.now() - last);
        last = performance.now();
        requestAnimationFrame(tick);
      };
      tick();
      const field = document.querySelector("form input");
      for (const text of ["u", "us", "user77", "user777"]) {
        field.value = text;
        field.dispatchEvent(new Event("input", { bubbles: true }));
        for (let frame = 0; frame < 3; frame++) await new Promise(requestAnimationFrame); // it is drawn
      }
      return most;
    })()`);
    expect(longest).toBeLessThan(2_000);
    await page.getByText("11 of 10,000 standing").waitFor();
    expect(page.url()).toContain("user=user777");
    await page.getByLabel("Service", { exact: true }).fill("wine");
    await page.getByText("6 of 10,000 standing").waitFor();
    await page.reload(); // the filter is in the address
    await page.getByText("6 of 10,000 standing").waitFor();
    await page.getByLabel("User", { exact: true }).fill("nobody");
    await page.getByText("No session that stands is like this.").waitFor();
    await page.getByLabel("User", { exact: true }).fill("");
    await page.getByLabel("Service", { exact: true }).fill("");
    await page.locator(".rows").evaluate((box) => box.scrollTo(0, box.scrollHeight));
    await page.getByRole("link", { name: "user9999" }).waitFor();
  });

  browserTest("let nobody see or do what the token's role does not allow", async () => {
    const session = await lab.client.request("wine");
    const call = `call/${await lab.newest()}`;
    const end = "End shop";
    // Without a token, on this machine: it is seen, and nothing can be done.
    const local = await visit(lab.at(call));
    await local.page.getByText("this machine, reading").waitFor();
    await local.page.locator("figure.actor").first().waitFor();
    expect(await local.page.getByRole("button", { name: end }).count()).toBe(0);
    // A token that nobody has.
    const wrong = await visit(lab.at(call, `demo.${"0".repeat(64)}`));
    await wrong.page.getByRole("heading", { name: "Sign in" }).waitFor();
    expect(await wrong.page.locator("figure.actor").count()).toBe(0);
    await wrong.page.getByLabel("Token").fill("demo.guess");
    await wrong.page.getByRole("button", { name: "Sign in" }).click();
    await wrong.page.getByRole("alert").getByText("does not know this token").waitFor();
    await wrong.page.getByLabel("Token").fill(lab.operator);
    await wrong.page.getByRole("button", { name: "Sign in" }).click();
    await wrong.page.getByRole("button", { name: end }).waitFor();
    // A viewer sees calls and no money; a biller sees money and ends no call.
    const viewer = await lab.token("viewer");
    const looks = await visit(lab.at(call, viewer));
    await looks.page.locator("figure.actor").first().waitFor();
    expect(await looks.page.getByRole("button", { name: end }).count()).toBe(0);
    const money = await visit(lab.at("money?user=alice", viewer));
    await money.page.getByText("takes a token of a biller or an operator").waitFor();
    const bills = await visit(lab.at("money?user=alice", await lab.token("biller")));
    await bills.page.getByRole("heading", { name: /^Bill of alice/ }).waitFor();
    const tries = await visit(lab.at("try", viewer));
    expect(await tries.page.getByRole("button", { name: "Place the call" }).isDisabled()).toBe(true);
    // The token is in the window alone: not in the address, not in what another window has.
    expect(looks.page.url()).not.toContain(viewer);
    // What the page does not offer, the relay refuses.
    const status = await looks.page.evaluate(`(async () => {
      const id = document.querySelector("code").textContent;
      const init = { method: "DELETE", headers: { Authorization: "Bearer ${viewer}" } };
      return (await fetch("../v1/sessions/" + id, init)).status;
    })()`);
    expect(status).toBe(403);
    await session.end();
  });

  browserTest("place a test call, and show it from its first state to its bill", async () => {
    const { page, complaints } = await visit(lab.at("try", lab.operator));
    await page.getByLabel("Item", { exact: true }).fill("<b>Barolo</b>");
    await page.getByRole("button", { name: "Place the call" }).click();
    await page.locator('figure[data-chart=session][data-state="terminated"]').waitFor({ timeout: 15_000 });
    await page.locator("[data-bill]").getByText("25.00 EUR").waitFor();
    await page.locator("[data-bill]").getByText("<b>Barolo</b>").first().waitFor();
    const busy = await visit(lab.at("try", lab.operator));
    await busy.page.getByLabel(/^Busy/).check();
    await busy.page.getByRole("button", { name: "Place the call" }).click();
    await busy.page.locator('figure[data-chart=request][data-state="rejected"]').waitFor();
    await busy.page
      .getByRole("button", { name: /error, .*486 Busy Here/ })
      .first()
      .waitFor();
    expect(complaints).toEqual([]);
  });

  browserTest("find a state by what is said of it, and show its source", async () => {
    const { page } = await visit(lab.at("charts/session", lab.operator));
    await page.getByLabel(/^Find a state/).fill("hung up");
    await page.getByRole("link", { name: "session · terminating" }).click();
    await page.getByRole("heading", { name: "terminating" }).waitFor();
    expect(await page.locator(".source").textContent()).toMatch(/^terminating: \{\n {2}entry: "relayBye"/);
    // By the keyboard.
    await page.locator('[data-state="established.steady"]').focus();
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "established.steady" }).waitFor();
  });

  browserTest(
    "count how many calls are in a state, and how often an arrow was taken, while somebody looks",
    async () => {
      const { page } = await visit(lab.at("charts/session", lab.operator));
      await page.getByText("so many calls are in it now").waitFor();
      const session = await lab.client.request("wine");
      await page.locator('[data-state="established.steady"].lit', { hasText: "steady 1" }).waitFor();
      await session.end();
      await page.locator(".chart .times").first().waitFor();
    },
  );

  browserTest("show a charge that was refused, and have one billed that was set aside, once it is mended", async () => {
    const before = lab.session();
    const session = await lab.client.request("wine");
    await until(() => lab.session() !== before);
    await expect(lab.session().charge({ item: "Rum", unitPrice: "3.00", currency: "USD" })).rejects.toThrow();
    const { store } = lab.portal.relay;
    const made = chargeMade(facts({ user: "alice", service: "wine", appServer: "shop" }), JANUARY, aCharge(), "info");
    const broken = { ...made, charge: { ...made.charge, unitPrice: "a lot" } };
    await store.billing.putDeadLetter({ id: made.id, at: JANUARY, reason: "no price", event: JSON.stringify(broken) });
    const { page, complaints } = await visit(lab.at("money?view=letters", lab.operator));
    const refused = page.getByRole("region", { name: "Refused" });
    await refused.getByText(/currency/).waitFor();
    const letters = page.getByRole("region", { name: "Set aside" });
    await letters.getByRole("button", { name: `Bill again: ${made.id}` }).click();
    await letters
      .getByText(/unitPrice/)
      .first()
      .waitFor(); // why it cannot be billed
    await letters.getByRole("button", { name: made.id, exact: true }).click();
    const text = letters.getByRole("textbox");
    await text.fill((await text.inputValue()).replace("a lot", "12.50"));
    await letters.getByRole("button", { name: "Keep the mended event" }).click();
    await letters.getByText("repaired").waitFor();
    await letters.getByRole("button", { name: `Bill again: ${made.id}` }).click();
    await letters.getByText("Everything is billed.").waitFor();
    expect(await store.billing.entriesOf(made.session.id)).toMatchObject([{ amount: "25.00" }]);
    expect(complaints).toEqual([]);
    await session.end();
  });

  browserTest("block a user, and let them call again", async () => {
    const { page } = await visit(lab.at("people", lab.operator));
    await page.getByRole("button", { name: "Block: alice" }).click();
    await page.getByRole("button", { name: "Block, and end their sessions: alice" }).click();
    await page.getByText("✕ blocked").waitFor();
    await page.getByRole("button", { name: "Unblock: alice" }).click();
    await page.getByText("may call").waitFor();
  });

  browserTest("lift a lock-out, and top up a balance, said twice", async () => {
    const { page } = await visit(lab.at("people", lab.operator));
    const lockouts = [{ user: "alice", source: "198.51.100.7", failures: 12, waitMs: 60_000 }];
    const sent: unknown[] = [];
    await page.route("**/v1/lockouts", (route) => route.fulfill({ json: { lockouts } }));
    await page.route("**/v1/lockouts/lift", (route) => {
      sent.push(route.request().postDataJSON());
      lockouts.length = 0;
      return route.fulfill({ json: {} });
    });
    await page.getByRole("button", { name: "Lift: alice" }).click();
    await page.getByText("Nobody has to wait").waitFor();
    let balance = "5.00";
    const credit = () => ({ user: "alice", currency: "EUR", balance, available: balance });
    await page.route("**/v1/credit/alice", (route) => route.fulfill({ json: credit() }));
    await page.route("**/v1/credit/alice/topup", (route) => {
      sent.push(route.request().postDataJSON());
      balance = "25.00";
      return route.fulfill({ json: credit() });
    });
    await page.getByRole("link", { name: "alice" }).click();
    await page.getByText("5.00 EUR").first().waitFor();
    await page.getByLabel("Top up, EUR").fill("20.00");
    await page.getByRole("button", { name: "Top up", exact: true }).click();
    await page.getByRole("button", { name: "Top up 20.00 EUR" }).click();
    await page.getByText("25.00 EUR").first().waitFor();
    expect(sent).toEqual([
      { user: "alice", source: "198.51.100.7" },
      { id: expect.stringMatching(/^[0-9a-f-]{36}$/), amount: "20.00" },
    ]);
  });

  browserTest("take an app server out of service, and set it in again", async () => {
    const { page } = await visit(lab.at("network", lab.operator));
    await page.getByRole("button", { name: "Take out: shop" }).click();
    await page.getByRole("button", { name: "Take it out: shop" }).click();
    await page.getByRole("button", { name: "Set in service: shop" }).click();
    await page.getByRole("button", { name: "Take out: shop" }).waitFor();
  });
});
