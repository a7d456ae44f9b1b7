import { expect, it, onTestFinished } from "vitest";
import { registerUser } from "../../src/directory/users.ts";
import { createClient, type ServiceRequest, serve } from "../../src/sdk/index.ts";
import { DOMAIN, openPortal, PASSWORD, USER } from "./portal.ts";

const SECOND = "second.example";

async function shop(domains = [DOMAIN]) {
  const asked: ServiceRequest[] = [];
  const server = await serve({
    listen: { host: "127.0.0.1", port: 0 },
    proof: false,
    services: {
      wine: async (request) => {
        asked.push(request);
        await request.accept();
      },
    },
  });
  onTestFinished(() => server.close());
  const portal = await openPortal({
    config: {
      portal: { domains, ownUsers: domains.slice(1) },
      services: [{ id: "wine" }],
      appServers: [{ id: "winery", uri: server.uri, services: ["wine"] }],
    },
    prepare: (store) => registerUser(store, { id: `${USER}@${SECOND}`, realm: SECOND, password: "another", md5: true }),
  });
  onTestFinished(() => portal.close());
  const client = (domain: string, password: string) => {
    const made = createClient({ relay: portal.uri, user: USER, password, domain });
    onTestFinished(() => made.close());
    return made;
  };
  return { portal, client, asked };
}

it("a user who is blocked gets 403 for what is new, and with --end the sessions end that are under way", async () => {
  const { portal, client } = await shop();
  const alice = client(DOMAIN, PASSWORD);
  const session = await alice.request("wine");
  const block = (end: boolean) =>
    portal.change(async (store) => {
      const user = (await store.users.get(USER))!;
      await store.users.put({ ...user, blocked: { since: 1, ...(end && { end: true as const }) } });
    });
  await block(false);
  await expect
    .poll(
      () =>
        alice.request("wine").then(
          () => 200,
          ({ status }) => status,
        ),
      { timeout: 5_000 },
    )
    .toBe(403);
  expect(portal.relay.sessions().length).toBeGreaterThan(0);
  await block(true);
  expect(await session.ended).toMatchObject({ by: "remote" });
  await expect.poll(() => portal.relay.sessions()).toEqual([]);
  expect((await portal.bill()).services[0]?.sessions[0]?.time?.endedBy).toBe("relay: the user is blocked");
});

it("a domain with users of its own has an alice of its own, and app servers are told which alice it is", async () => {
  const { client, asked } = await shop([DOMAIN, SECOND]);
  await (await client(SECOND, "another").request("wine")).end();
  await (await client(DOMAIN, PASSWORD).request("wine")).end();
  expect(asked.map(({ user }) => user)).toEqual([`sip:${USER}@${SECOND}`, `sip:${USER}@${DOMAIN}`]);
  await expect(client(SECOND, PASSWORD).request("wine")).rejects.toMatchObject({ status: 401 });
});
