import { expect, it, onTestFinished } from "vitest";
import { CHARGE_JSON, PACKAGE } from "../../src/charging/charges/body.ts";
import type { SipMessage } from "../../src/sip/message.ts";
import { Chance } from "../simulation/chance.ts";
import { RelayChild } from "./relay-child.ts";
import { type Call, establish, UdpPeer } from "./udp-peer.ts";

/*
 * The relay is killed again and again while an app server charges in sessions that go on (P7): whatever was on its way
 * is sent again, and what was answered for is on the bill, once.
 */

const SEED = Number(process.env.KILL_SEED ?? Math.floor(Math.random() * 2 ** 31));
const KILLS = 4;
const SESSIONS = 3;
/** Charges under way at once in each session, and in all. */
const WINDOW = 5;
const MOST = 600;

/** One session in which an app server charges, whatever becomes of the relay. */
class Charging {
  readonly sent = new Set<string>();
  readonly answered = new Set<string>();
  readonly refused: string[] = [];
  private readonly underWay = new Map<number, string>();
  private readonly name: string;
  private seq = 0;
  private stopped = true;
  readonly call: Call;

  constructor(call: Call, name: string) {
    this.call = call;
    this.name = name;
  }

  /** True where the message belongs to this session: then it is dealt with. */
  received(message: SipMessage): boolean {
    if (message.isRequest || message.callId !== this.call.inviteAtServer.callId) return false;
    const id = this.underWay.get(message.cseq!.number);
    if (id === undefined) return false;
    this.underWay.delete(message.cseq!.number);
    if (message.status === 200) this.answered.add(id);
    else this.refused.push(`${message.status} ${message.reason}`);
    this.go();
    return true;
  }

  /** Charges, first what nobody has answered for. */
  start(): void {
    this.stopped = false;
    const again = [...this.underWay.values()];
    this.underWay.clear();
    for (const id of again) this.charge(id);
    this.go();
  }

  stop(): void {
    this.stopped = true;
  }

  get isIdle(): boolean {
    return this.underWay.size === 0;
  }

  private go(): void {
    while (!this.stopped && this.underWay.size < WINDOW && this.sent.size < MOST)
      this.charge(`${this.name}-${this.sent.size}`);
  }

  private charge(id: string): void {
    this.sent.add(id);
    const seq = ++this.seq;
    this.underWay.set(seq, id);
    const { server, inviteAtServer, answerOfServer } = this.call;
    server.backInDialog("INFO", inviteAtServer, answerOfServer, seq, {
      headers: [["Info-Package", PACKAGE]],
      body: JSON.stringify({ charges: [{ id, item: id, unitPrice: "0.01", currency: "EUR" }] }),
      type: CHARGE_JSON,
    });
  }
}

it(`charges in sessions that outlive kill -9 are on the bill once, killed at any moment (P7, M14) [KILL_SEED=${SEED}]`, async () => {
  console.log(`KILL_SEED=${SEED}`);
  const chance = new Chance(SEED);
  let port = 0;
  const relayAt = () => ({ address: "127.0.0.1", port });
  const [client, server] = [await UdpPeer.open(relayAt), await UdpPeer.open(relayAt)];
  const relay = await RelayChild.create(() => ({
    limits: { perSourcePerSecond: 0 },
    services: [{ id: "wine" }],
    appServers: [{ id: "winery", uri: server.uri, services: ["wine"] }],
    drainS: 1,
  }));
  onTestFinished(async () => {
    await relay.remove();
    await Promise.all([client.close(), server.close()]);
  });
  port = relay.port;
  await relay.start();
  const sessions: Charging[] = [];
  server.onMessage = (message) => sessions.some((session) => session.received(message));
  for (let i = 0; i < SESSIONS; i++) sessions.push(new Charging(await establish(client, server, "wine"), String(i)));
  for (let i = 0; i < KILLS; i++) {
    const before = sessions.map(({ answered }) => answered.size);
    for (const session of sessions) session.start();
    // Its start is on disk when the first charge of a session is: then it goes on.
    while (sessions.some(({ answered }, n) => answered.size === before[n])) await turn();
    // The moment is what the test is about: nothing is waited for.
    await new Promise((resolve) => setTimeout(resolve, chance.between(0, 250)));
    await relay.kill();
    await relay.start();
  }
  for (const session of sessions) session.start();
  for (const session of sessions) session.stop();
  while (!sessions.every(({ isIdle }) => isIdle)) await turn();
  for (const { call } of sessions) {
    client.inDialog("BYE", call.invite, call.answer, 2);
    server.answer(await server.nextRequest("BYE"), 200);
    await client.nextResponse(200);
  }
  expect(await relay.end()).toEqual({ code: 0, signal: null });
  const billed = (await relay.bill()).services.flatMap((service) => service.sessions);
  const items = billed.flatMap(({ items }) => items.map(({ item }) => item));
  const sent = sessions.flatMap((session) => [...session.sent]);
  expect(sessions.flatMap(({ refused }) => refused)).toEqual([]);
  expect(billed.map(({ time }) => time?.endedBy)).toEqual(sessions.map(() => "client"));
  // Each was sent until it was answered for.
  expect(items.toSorted()).toEqual(sent.toSorted());
  expect(sent.length).toBeGreaterThan(KILLS * SESSIONS);
}, 60_000);

const turn = () => new Promise((resolve) => setImmediate(resolve));
