import { expect, it, onTestFinished } from "vitest";
import type { Bill } from "../../src/charging/bills/bill.ts";
import { CHARGE_JSON, PACKAGE } from "../../src/charging/charges/body.ts";
import { type AppSession, serve } from "../../src/sdk/index.ts";
import type { SipMessage, SipRequest } from "../../src/sip/message.ts";
import { NO_NATS, natsProgram, startNats } from "../support/nats-server.ts";
import { describeUnless } from "../support/unless.ts";
import { RelayChild } from "./relay-child.ts";
import { type Call, establish, UdpPeer } from "./udp-peer.ts";

/*
 * kill -9 and start again, and the calls are still there (P7): with the real command, on the same data folder.
 */

/** Of two processes' clocks, and of a file's time. */
const ROUNDING_MS = 100;

async function portal(more: Readonly<Record<string, unknown>> = {}, imports: readonly string[] = []) {
  let port = 0;
  const relayAt = () => ({ address: "127.0.0.1", port });
  const [client, server] = [await UdpPeer.open(relayAt), await UdpPeer.open(relayAt)];
  const relay = await RelayChild.create(() => ({
    services: [{ id: "wine" }, { id: "beer" }],
    appServers: [{ id: "winery", uri: server.uri, services: ["wine", "beer"] }],
    drainS: 1,
    ...more,
  }));
  relay.imports = imports;
  onTestFinished(async () => {
    await relay.remove();
    await Promise.all([client.close(), server.close()]);
  });
  port = relay.port;
  await relay.start();
  return { relay, client, server };
}

/** A module by which the wall clock is ahead by so much for the process; where it is told so, only from SIGUSR2 on. */
const ahead = (byMs: number, from?: "from SIGUSR2 on") =>
  `data:text/javascript,${encodeURIComponent(
    `const real = Date.now; let by = ${from ? 0 : byMs}; Date.now = () => real() + by;
     process.on("SIGUSR2", () => { by = ${byMs}; });`,
  )}`;

/** Both answer the relay's OPTIONS as whoever is in the session. */
function answerProbes(...peers: UdpPeer[]): SipMessage[] {
  const probes: SipMessage[] = [];
  for (const peer of peers)
    peer.onMessage = (message) => {
      if (!message.isRequest || message.method !== "OPTIONS") return false;
      probes.push(message);
      peer.answer(message, 200);
      return true;
    };
  return probes;
}

const chargeOf = (id: string) => ({
  headers: [["Info-Package", PACKAGE]] as [string, string][],
  body: JSON.stringify({ charges: [{ id, item: id, unitPrice: "0.50", currency: "EUR" }] }),
  type: CHARGE_JSON,
});

type BillSession = Bill["services"][number]["sessions"][number];

/** Charges once: when that is answered, what was before is on disk. */
async function charged({ server, inviteAtServer, answerOfServer }: Call, seq: number, id: string): Promise<void> {
  server.backInDialog("INFO", inviteAtServer, answerOfServer, seq, chargeOf(id));
  await server.nextResponse(200);
}

async function billOf(relay: RelayChild, at = Date.now()) {
  expect(await relay.end()).toEqual({ code: 0, signal: null });
  const bill = await relay.bill(at);
  return bill.services.flatMap((service) => service.sessions);
}

const seqOf = (message: SipRequest) => message.cseq!.number;

it("a session goes on after kill -9: BYE passes from either side, charges are taken once, re-INVITE passes, and the clock has run on (P7, M11-M14)", async () => {
  const { relay, client, server } = await portal({ session: { probeS: 60 } });
  const askedAt = Date.now();
  const calls: Call[] = [];
  for (let i = 0; i < 3; i++) calls.push(await establish(client, server, "wine"));
  const startedAt = Date.now();
  const [one, two, three] = calls as [Call, Call, Call];
  await charged(one, 1, "before");
  await relay.kill();
  const probes = answerProbes(client, server);
  await relay.start();

  // Charged before: charged once. A new one is taken.
  await charged(one, 2, "before");
  await charged(one, 3, "after");
  // The first call changes its media, and hangs up by its client; the CSeqs have jumped.
  const again = client.inDialog("INVITE", one.invite, one.answer, 2, { body: "v=2" });
  const atServer = await server.nextRequest("INVITE");
  expect(seqOf(atServer)).toBeGreaterThan(1_000);
  server.answer(atServer, 200, { body: "v=3" });
  client.ack(again, await client.nextResponse(200));
  await server.nextRequest("ACK");
  const endedAt = Date.now();
  client.inDialog("BYE", one.invite, one.answer, 3);
  server.answer(await server.nextRequest("BYE"), 200);
  await client.nextResponse(200);
  const answeredAt = Date.now();
  // The second by its app server.
  server.backInDialog("BYE", two.inviteAtServer, two.answerOfServer, 1);
  client.answer(await client.nextRequest("BYE"), 200);
  await server.nextResponse(200);
  // The third changes to another service, and is killed once more.
  const change = client.inDialog("INVITE", three.invite, three.answer, 2, {
    body: '<service name="beer"/>',
    type: "application/vnd.tollgate.service+xml",
  });
  server.answer(await server.nextRequest("INVITE"), 200, { body: "{}" });
  client.ack(change, await client.nextResponse(200));
  await server.nextRequest("ACK");
  await charged(three, 1, "beer");
  await relay.kill();
  await relay.start();
  await charged(three, 2, "beer");
  client.inDialog("BYE", three.invite, three.answer, 3);
  server.answer(await server.nextRequest("BYE"), 200);
  await client.nextResponse(200);

  expect(probes.length).toBeGreaterThanOrEqual(6 + 2); // both ends of each, at once
  const sessions = await billOf(relay);
  expect(sessions.map(({ time }) => time?.endedBy).sort()).toEqual(["change", "client", "client", "server"]);
  expect(sessions.flatMap(({ items }) => items.map(({ item }) => item)).sort()).toEqual(["after", "beer", "before"]);
  const first = sessions.find(({ session }) => one.inviteAtServer.callId.startsWith(session))!;
  expect(first.time!.durationMs).toBeGreaterThanOrEqual(endedAt - startedAt - ROUNDING_MS);
  expect(first.time!.durationMs).toBeLessThanOrEqual(answeredAt - askedAt + ROUNDING_MS);
}, 30_000);

it("whoever has gone meanwhile is not waited for: the session ended when the relay was last alive (P7)", async () => {
  const { relay, client, server } = await portal({ session: { probeS: 60 } });
  const askedAt = Date.now();
  const call = await establish(client, server, "wine");
  await charged(call, 1, "cork");
  await relay.kill();
  const killedAt = Date.now();
  client.onMessage = (message) => {
    if (message.isRequest) client.answer(message, message.method === "OPTIONS" ? 481 : 200);
    return true;
  };
  await relay.start();
  server.answer(await server.nextRequest("BYE"), 200);
  const [session] = await billOf(relay);
  expect(call.inviteAtServer.callId).toContain(session!.session);
  expect(session!.time!.endedBy).toBe("relay: client is gone: answered 481 to a probe");
  expect(session!.time!.durationMs).toBeLessThanOrEqual(killedAt - askedAt + ROUNDING_MS);
}, 30_000);

it("a 2xx whose ACK was not there yet is sent again, and the clock starts with the ACK (P7, M12; RFC 3261 §13.3.1.4)", async () => {
  const { relay, client, server } = await portal();
  const invite = await client.call("wine", { body: "v=0" });
  const inviteAtServer = await server.nextRequest("INVITE");
  server.answer(inviteAtServer, 200, { body: "v=1" });
  const answer = await client.nextResponse(200);
  const other = await establish(client, server, "beer");
  await charged(other, 1, "another's");
  await relay.kill();
  await relay.start();
  client.forget(); // from now on what comes again counts
  const second = await client.nextResponse(200);
  expect([second.toTag, second.headers.get("cseq"), second.body.toString()]).toEqual([answer.toTag, "1 INVITE", "v=1"]);
  const startedAt = Date.now();
  client.ack(invite, second);
  expect(seqOf(await server.nextRequest("ACK"))).toBe(seqOf(inviteAtServer));
  for (const [from, to] of [
    [other.invite, other.answer],
    [invite, second],
  ] as const) {
    client.inDialog("BYE", from, to, 3);
    server.answer(await server.nextRequest("BYE"), 200);
    await client.nextResponse(200);
  }
  const session = (await billOf(relay)).find(({ session }) => inviteAtServer.callId.startsWith(session));
  expect(session!.time!.endedBy).toBe("client");
  expect(session!.time!.at).toBeGreaterThanOrEqual(startedAt - ROUNDING_MS);
}, 30_000);

it.each([-3_600_000, 3_600_000])(
  "a session lasted what passed, though the wall clock was set by %i ms before it and the relay was killed after that (P7)",
  async (byMs) => {
    const { relay, client, server } = await portal({}, [ahead(byMs, "from SIGUSR2 on")]);
    relay.signal("SIGUSR2");
    await relay.says(/the wall clock was set/);
    const askedAt = Date.now();
    const call = await establish(client, server, "wine");
    const startedAt = Date.now();
    await charged(call, 1, "cork");
    await relay.kill();
    relay.imports = [ahead(byMs)]; // it shows the same time now
    await relay.start();
    await charged(call, 2, "cork");
    await relay.kill();
    relay.imports = []; // and now somebody has set it back, while no relay ran
    await relay.start();
    const endedAt = Date.now();
    client.inDialog("BYE", call.invite, call.answer, 3);
    server.answer(await server.nextRequest("BYE"), 200);
    await client.nextResponse(200);
    const answeredAt = Date.now();
    const [session] = await billOf(relay, startedAt + byMs);
    const { endedBy, durationMs, at } = session!.time!;
    expect(endedBy).toBe("client");
    expect(durationMs).toBeGreaterThanOrEqual(endedAt - startedAt - ROUNDING_MS);
    expect(durationMs).toBeLessThanOrEqual(answeredAt - askedAt + ROUNDING_MS);
    // A timeline may be half a second off the wall clock.
    expect(at).toBeGreaterThanOrEqual(askedAt + byMs - 600);
    expect(at).toBeLessThanOrEqual(startedAt + byMs + 600);
  },
  30_000,
);

it.each([
  ["recovery: end", { recovery: "end" }],
  ["the relay was away for longer than recovery.withinS", { recovery: { withinS: 0 } }],
])(
  "%s: sessions end when the relay was last alive, and their ends learn it by 481 (P7)",
  async (_, config) => {
    const { relay, client, server } = await portal(config);
    const call = await establish(client, server, "wine");
    const { invite, answer } = call;
    await charged(call, 1, "cork");
    await relay.kill();
    await relay.start();
    client.inDialog("BYE", invite, answer, 2);
    await client.nextResponse(481);
    const [session] = await billOf(relay);
    expect(session!.time!.endedBy).toBe("relay: stopped without warning");
  },
  30_000,
);

it("a prepaid session goes on with its hold, is charged to it, and pays what it cost, once (P7, P2)", async () => {
  const { relay, client, server } = await portal({
    tariffs: [{ id: "visit", currency: "EUR", setupFee: "2.00" }],
    services: [{ id: "wine", tariff: "visit" }],
    credit: { reserveCharges: "5" },
  });
  const balance = async () => JSON.parse(await relay.command(["credit", "show", "alice", "--json"])) as object;
  await relay.kill();
  await relay.command(["credit", "open", "alice", "--currency", "EUR"]);
  await relay.command(["credit", "topup", "alice", "20.00", "--id", "first"]);
  await relay.start();
  const call = await establish(client, server, "wine");
  await charged(call, 1, "cork");
  await relay.kill();
  await relay.start();
  expect(await balance()).toMatchObject({ balance: "20.00", available: "13.00", held: [{ amount: "7.00" }] });
  await charged(call, 2, "cork");
  await charged(call, 3, "glass");
  client.inDialog("BYE", call.invite, call.answer, 3);
  server.answer(await server.nextRequest("BYE"), 200);
  await client.nextResponse(200);
  const [session] = await billOf(relay);
  expect(session!.items).toMatchObject([{ item: "cork" }, { item: "glass" }]);
  expect(await balance()).toMatchObject({ balance: "17.00", available: "17.00", held: [] });
}, 30_000);

it("an app server that the relay reaches by TCP is connected to anew, and connects anew itself (P7)", async () => {
  let port = 0;
  const relayAt = () => ({ address: "127.0.0.1", port });
  const client = await UdpPeer.open(relayAt);
  let accepted = (_session: AppSession): void => {};
  const session = new Promise<AppSession>((resolve) => {
    accepted = resolve;
  });
  const shop = await serve({
    listen: { host: "127.0.0.1", port: 0 },
    services: { wine: async (request) => accepted(await request.accept()) },
  });
  const relay = await RelayChild.create(() => ({
    services: [{ id: "wine" }],
    appServers: [{ id: "shop", uri: shop.uri, services: ["wine"] }],
    session: { probeS: 60 },
    drainS: 1,
  }));
  onTestFinished(async () => {
    await relay.remove();
    await Promise.all([client.close(), shop.close()]);
  });
  port = relay.port;
  await relay.start();
  const invite = await client.call("wine");
  const answer = await client.nextResponse(200);
  client.ack(invite, answer);
  const charge = (id: string) =>
    session.then((one) => one.charge({ id, item: id, unitPrice: "0.50", currency: "EUR" }));
  await charge("before");
  await relay.kill();
  answerProbes(client);
  await relay.start();
  await charge("after");
  client.inDialog("BYE", invite, answer, 3);
  await client.nextResponse(200);
  const [billed] = await billOf(relay);
  expect(billed!.time!.endedBy).toBe("client");
  expect(billed!.items.map(({ item }) => item)).toEqual(["before", "after"]);
}, 30_000);

describeUnless(natsProgram ? undefined : NO_NATS)("over NATS", () => {
  it("sessions go on too, by what the journal has of them (P7, P2)", async () => {
    const nats = await startNats();
    onTestFinished(() => nats.destroy());
    const { relay, client, server } = await portal({ bus: nats.url });
    const [one, two] = [await establish(client, server, "wine"), await establish(client, server, "beer")];
    await charged(one, 1, "before");
    await relay.kill();
    await relay.start();
    await charged(one, 2, "before");
    await charged(one, 3, "after");
    for (const call of [one, two]) {
      client.inDialog("BYE", call.invite, call.answer, 3);
      server.answer(await server.nextRequest("BYE"), 200);
      await client.nextResponse(200);
    }
    // The billing worker takes its time, and what the one that was killed had in hand comes again; the test's own time
    // is the bound.
    let sessions: BillSession[] = [];
    const lines = () => sessions.flatMap(({ time, items }) => [...(time ? [time] : []), ...items]);
    while (lines().length < 4) {
      const bill = JSON.parse(await relay.command(["bill", "alice", "--json"])) as Bill;
      sessions = bill.services.flatMap((service) => service.sessions);
    }
    expect(sessions.map(({ time }) => time?.endedBy)).toEqual(["client", "client"]);
    expect(
      sessions
        .flatMap(({ items }) => items)
        .map(({ item }) => item)
        .sort(),
    ).toEqual(["after", "before"]);
  }, 120_000);
});
