import { describe, expect, it, onTestFinished } from "vitest";
import type { MemberView } from "../../src/cluster/member-view.ts";
import type { LockOut } from "../../src/directory/guesses.ts";
import type { SipRequest } from "../../src/sip/message.ts";
import { NO_NATS, natsProgram, startNats } from "../support/nats-server.ts";
import { DOMAIN, USER } from "./portal.ts";
import { RelayChild } from "./relay-child.ts";
import { credentials, UdpPeer } from "./udp-peer.ts";

/** Relays as processes over one NATS server, and a client and an app server before all of them. */
async function cluster(nodes: number, config: Readonly<Record<string, unknown>> = {}) {
  const nats = await startNats();
  const ports: number[] = [];
  let at = 0;
  const relayAt = () => ({ address: "127.0.0.1", port: ports[at]! });
  const [client, server] = [await UdpPeer.open(relayAt), await UdpPeer.open(relayAt)];
  const relays: RelayChild[] = [];
  onTestFinished(async () => {
    await Promise.all(relays.map((relay) => relay.remove()));
    await Promise.all([client.close(), server.close(), nats.destroy()]);
  });
  for (let i = 0; i < nodes; i++) {
    const relay = await RelayChild.create(() => ({
      bus: nats.url,
      drainS: 0,
      tariffs: [{ id: "visit", currency: "EUR", setupFee: "0.50" }],
      services: [{ id: "wine", tariff: "visit" }],
      appServers: [{ id: "winery", uri: server.uri, services: ["wine"] }],
      ...config,
    }));
    relays.push(relay);
    ports.push(relay.port);
    await relay.start();
  }
  const states = async (relay: RelayChild) => {
    const seen = JSON.parse(await relay.command(["nodes", "--json"])) as MemberView[];
    return seen.map(({ state }) => state);
  };
  const all = Array(nodes).fill("up");
  for (const relay of relays) await expect.poll(() => states(relay), { timeout: 10_000 }).toEqual(all);
  return {
    nats,
    relays,
    client,
    server,
    /** From now on everything goes to that node. */
    to: (node: number) => {
      at = node;
    },
    /** The same, to the node that sent this to the app server. */
    toSenderOf: ({ via }: SipRequest) => {
      at = ports.indexOf(via!.port ?? 0);
    },
  };
}

const own = { uri: `sip:wine@${DOMAIN}`, from: `<sip:${USER}@${DOMAIN}>` };
const SECRET = { TOLLGATE_BUS_SECRET: "00112233445566778899aabbccddeeff" };

describe.each([
  ["with a secret of the cluster", SECRET],
  ["with no secret", {}],
])("sign-in over three relays as processes and a NATS server, %s", (_, env) => {
  it("answers a challenge of one node at another, and takes a count once (RFC 7616 §3.4, §5.4)", {
    timeout: 60_000,
  }, async ({ skip }) => {
    skip(natsProgram === undefined, NO_NATS);
    Object.assign(process.env, env);
    onTestFinished(() => {
      for (const name of Object.keys(env)) delete process.env[name];
    });
    const { relays, client, server, to } = await cluster(3);
    const first = client.invite(own);
    const challenge = await client.nextResponse(401);
    client.ack(first, challenge);
    const signedIn: [string, string][] = [["Authorization", credentials(challenge, own.uri)]];

    to(1);
    const invite = client.invite({ ...own, headers: signedIn });
    server.answer(await server.nextRequest("INVITE"), 200);
    const answer = await client.nextResponse(200);
    client.ack(invite, answer);
    await server.nextRequest("ACK");

    // The same header again is a replay, wherever it comes.
    for (const node of [2, 1, 0]) {
      to(node);
      const replay = client.invite({ ...own, headers: signedIn });
      const refused = await client.nextResponse(401);
      client.ack(replay, refused);
      expect(refused.headers.get("www-authenticate")).toContain("stale=true");
    }
    expect(server.inbox).toEqual([]);

    // The node that made the nonce dies: one more round trip, and no question to the user.
    to(0);
    const last = client.invite(own);
    const ofTheDead = await client.nextResponse(401);
    client.ack(last, ofTheDead);
    await relays[0]!.kill();
    to(2);
    await expect
      .poll(async () => JSON.parse(await relays[2]!.command(["nodes", "--json"])) as MemberView[], { timeout: 10_000 })
      .toContainEqual(expect.objectContaining({ state: "dead" }));
    const moved = client.invite({ ...own, headers: [["Authorization", credentials(ofTheDead, own.uri)]] });
    const stale = await client.nextResponse(401);
    client.ack(moved, stale);
    expect(stale.headers.get("www-authenticate")).toContain("stale=true");
    client.invite({ ...own, headers: [["Authorization", credentials(stale, own.uri)]] });
    await server.nextRequest("INVITE");
  });
});

describe("limits over three relays as processes and a NATS server", () => {
  it("lock out a guesser at all nodes, and one command lifts that at all nodes (M2)", { timeout: 60_000 }, async ({
    skip,
  }) => {
    skip(natsProgram === undefined, NO_NATS);
    const { relays, client, server, to } = await cluster(3, {
      authentication: { throttle: { delayS: 300 } }, // longer than the test, however slow the machine is
    });
    const lockOuts = async (node: number) =>
      JSON.parse(await relays[node]!.command(["lockouts", "list", "--json"])) as LockOut[];
    /** Says what comes of a sign-in with these credentials. */
    const signIn = async (change: (right: string) => string) => {
      const first = client.invite(own);
      const challenge = await client.nextResponse(401);
      client.ack(first, challenge);
      return client.invite({ ...own, headers: [["Authorization", change(credentials(challenge, own.uri))]] });
    };
    const wrong = (right: string) => right.replace(/response="./, 'response="x');
    for (let i = 0; i < 5; i++) {
      to(i % 2);
      const invite = await signIn(wrong);
      client.ack(invite, await client.nextResponse(401));
    }
    await expect.poll(() => lockOuts(2), { timeout: 10_000 }).toMatchObject([{ user: USER, source: "127.0.0.1" }]);
    // Where nobody has guessed, somebody who is known nowhere waits as well.
    to(2);
    const held = await signIn(wrong);
    client.ack(held, await client.nextResponse(503));

    expect(await relays[0]!.command(["lockouts", "lift", "--user", USER])).toBe("1 lifted\n");
    await expect.poll(() => lockOuts(2), { timeout: 10_000 }).toEqual([]);
    await signIn((right) => right);
    await server.nextRequest("INVITE");
  });

  it("answer a source as often in a second as one relay does (decision 14)", { timeout: 60_000 }, async ({ skip }) => {
    skip(natsProgram === undefined, NO_NATS);
    const perSecond = 60;
    const { client, to } = await cluster(3, { limits: { perUnprovenSourcePerSecond: perSecond } });
    let answered = 0;
    client.onMessage = () => {
      answered++;
      return true;
    };
    const begunAt = performance.now();
    const seconds = () => (performance.now() - begunAt) / 1_000;
    for (let node = 0; seconds() < 4; node = (node + 1) % 3) {
      to(node);
      for (let i = 0; i < 5; i++) client.outside("OPTIONS", [], `sip:${DOMAIN}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    const took = seconds();
    expect(answered).toBeGreaterThan(0.8 * perSecond * took);
    // At each node by itself it would be three times as many. One second more, since seconds begin at any time.
    expect(answered).toBeLessThan(1.2 * perSecond * (took + 1));
  });

  it("count a user's sessions together, also those that begin at all nodes in the same moment (decision 14)", {
    timeout: 60_000,
  }, async ({ skip }) => {
    skip(natsProgram === undefined, NO_NATS);
    const { relays, client, server, to, toSenderOf } = await cluster(3, {
      limits: { sessionsPerUser: 4, ringingPerUser: 4 },
    });
    const challenges = [];
    for (let i = 0; i < 12; i++) {
      to(i % 3);
      const first = client.invite(own);
      const challenge = await client.nextResponse(401);
      client.ack(first, challenge);
      challenges.push(challenge);
    }
    const invites = challenges.map((challenge, i) => {
      to(i % 3);
      return client.invite({ ...own, headers: [["Authorization", credentials(challenge, own.uri)]] });
    });
    for (let i = 0; i < 8; i++) await client.nextResponse(503);
    for (let i = 0; i < 4; i++) {
      const asked = await server.nextRequest("INVITE");
      toSenderOf(asked);
      server.answer(asked, 180);
    }
    expect(server.inbox.filter((message) => message.isRequest)).toEqual([]);

    // What its home had counted is found out again by another home.
    for (const [i, invite] of invites.entries()) {
      to(i % 3);
      client.cancel(invite);
    }
    for (let i = 0; i < 4; i++) {
      const cancel = await server.nextRequest("CANCEL");
      toSenderOf(cancel);
      server.answer(cancel, 200);
    }
    await relays[0]!.kill();
    to(1);
    await expect
      .poll(async () => JSON.parse(await relays[1]!.command(["nodes", "--json"])) as MemberView[], { timeout: 10_000 })
      .toContainEqual(expect.objectContaining({ state: "dead" }));
    const again = await client.call("wine");
    await server.nextRequest("INVITE");
    client.cancel(again);
  });
});
