import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type AppSession, createClient, serve } from "../../../src/sdk/index.ts";
import { DOMAIN, openPortal, PASSWORD, USER } from "../../e2e/portal.ts";
import { NO_NATS, natsProgram, startNats } from "../../support/nats-server.ts";
import { until } from "../../support/until.ts";
import { browserTest, visit } from "./browser.ts";
import { openLab } from "./console-lab.ts";

/* Two nodes on one NATS server: what runs at the second is seen and ended at the first, by page and by relay. */

const closers: (() => unknown)[] = [];
let nodes: Awaited<ReturnType<typeof twoNodes>> | undefined;

async function twoNodes() {
  const nats = await startNats();
  closers.push(() => nats.destroy());
  const lab = await openLab({ bus: nats.url });
  closers.push(() => lab.close());
  const sold: AppSession[] = [];
  const shop = await serve({
    listen: { host: "127.0.0.1", port: 0 },
    services: { beer: async (request) => void sold.push(await request.accept({ url: "http://127.0.0.1/bar" })) },
  });
  closers.push(() => shop.close());
  const second = await openPortal({
    config: {
      bus: nats.url,
      calls: { messages: "always" },
      services: [{ id: "beer" }],
      appServers: [{ id: "bar", uri: shop.uri, services: ["beer"] }],
    },
  });
  closers.push(() => second.close());
  const client = createClient({ relay: second.uri, user: USER, password: PASSWORD, domain: DOMAIN });
  closers.push(() => client.close());
  const first = lab.portal.relay;
  const names = () => first.nodes().filter(({ self, state }) => !self && state === "up");
  await until(() => names().length === 1);
  return { lab, first, second, client, sold, other: names()[0]!.node };
}

beforeAll(async () => {
  if (natsProgram !== undefined) nodes = await twoNodes();
}, 60_000);
afterAll(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

describe("the whole cluster at one address (P4)", () => {
  it("has the session, the call and its story, and ends it", { timeout: 30_000 }, async ({ skip }) => {
    skip(!nodes, NO_NATS);
    const { first, second, client, other } = nodes!;
    const session = await client.request("beer");
    const { sessions, missing } = await first.everywhere.sessions();
    expect(sessions).toMatchObject([{ user: USER, service: "beer", appServer: "bar", node: other }]);
    expect(missing).toEqual([]);
    expect(first.sessions()).toEqual([]);
    const { calls } = await first.everywhere.calls({ most: 10, user: USER });
    expect(calls).toMatchObject([{ running: true, service: "beer" }]);
    const { story } = await first.everywhere.story(calls[0]!.id);
    expect(story!.items).toContainEqual(
      expect.objectContaining({ kind: "message", label: expect.stringMatching(/^200 OK/) }),
    );
    expect(JSON.stringify(story)).not.toContain(PASSWORD);
    expect(await first.everywhere.endSession(sessions[0]!.id)).toEqual({ ended: true, missing: [] });
    await session.ended;
    await expect.poll(() => second.relay.sessions()).toEqual([]);
  });

  browserTest("names the node of each session, ends it there, and names nodes that did not answer", async () => {
    if (!nodes) return;
    const { lab, second, client, other } = nodes;
    await client.request("beer");
    await lab.client.request("wine");
    const { page, complaints } = await visit(lab.at("calls?view=standing", lab.operator));
    await page.getByText("2 of 2 standing").waitFor();
    const row = page.locator("tbody tr").filter({ hasText: "beer" });
    expect(await row.textContent()).toContain(other);
    await page.getByLabel("Node", { exact: true }).fill(other);
    await page.getByText("1 of 2 standing").waitFor();
    await row.getByRole("button", { name: "End" }).click();
    await page.getByRole("button", { name: "End it" }).click();
    await page.getByText("0 of 1 standing").waitFor();
    expect(second.relay.sessions()).toEqual([]);
    expect(await page.getByText("did not answer").count()).toBe(0);
    await page.route("**/v1/sessions", (route) => route.fulfill({ json: { sessions: [], missing: ["n2"] } }));
    await page.getByText("Node n2 did not answer. The sessions there are not listed.").waitFor();
    await page.route("**/v1/calls?*", (route) => route.fulfill({ json: { calls: [], missing: ["n2", "n3"] } }));
    await page.getByRole("link", { name: "on record" }).click();
    await page.getByText("Nodes n2, n3 did not answer. Calls that run there are not listed.").waitFor();
    expect(complaints).toEqual([]);
  });

  browserTest("shows a call that runs at the other node as it goes on, from its chart to its end", async () => {
    if (!nodes) return;
    const { lab, first, client, sold } = nodes;
    const before = sold.length;
    const session = await client.request("beer");
    await until(() => sold.length > before);
    const running = async () =>
      (await first.everywhere.calls({ most: 10, user: USER })).calls.find(
        (call) => call.running && call.service === "beer",
      );
    await until(async () => (await running()) !== undefined); // the other node may take its time to answer
    const { page, complaints } = await visit(lab.at(`call/${(await running())!.id}`, lab.operator));
    const reaches = (state: string) => page.locator(`figure[data-chart=session][data-state="${state}"]`).waitFor();
    await reaches("established.steady");
    await sold.at(-1)!.charge({ item: "Stout", unitPrice: "4.50", quantity: 2, currency: "EUR" });
    await page.locator(".charges").getByText("2 x Stout at 4.50").waitFor();
    await session.end();
    await reaches("terminated");
    expect(complaints).toEqual([]);
  });

  browserTest("counts the sessions and calls of all nodes, and names a node that is not among them", async () => {
    if (!nodes) return;
    const { lab, first, second, client } = nodes;
    await until(() => first.sessions().length + second.relay.sessions().length <= 1);
    await client.request("beer");
    const all = first.sessions().length + second.relay.sessions().length;
    const { page, complaints } = await visit(lab.at("network", lab.operator));
    await page.getByText("figures of 2 nodes").waitFor();
    await page
      .locator(".figures div")
      .filter({ hasText: "standing" })
      .getByText(String(all), { exact: true })
      .waitFor();
    await page.route("**/v1/status?*", async (route) => {
      const json = await (await route.fetch()).json();
      await route.fulfill({ json: { ...json, nodes: 1, missing: ["n2"] } });
    });
    await page.getByText("Not in these figures: n2 did not answer.").waitFor();
    expect(complaints).toEqual([]);
  });
});
