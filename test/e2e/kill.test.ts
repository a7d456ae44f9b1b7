import { expect, it, onTestFinished } from "vitest";
import { CHARGE_JSON, PACKAGE } from "../../src/charging/charges/body.ts";
import type { SipMessage } from "../../src/sip/message.ts";
import { RelayChild } from "./relay-child.ts";
import { type Call, establish, UdpPeer } from "./udp-peer.ts";

/*
 * The relay is killed while app servers charge by INFO and sessions end, again and again on the same data folder. What
 * it answered for must be on the bill, once (decision 8); what it did not answer for may be, once.
 */

const SEED = Number(process.env.KILL_SEED ?? Math.floor(Math.random() * 2 ** 31));
/** How long each round runs, at most. The last outlasts a heartbeat of the relay, so that there is time on its bill. */
const ROUNDS_MS = [60, 120, 180, 1_400];
const SESSIONS = 4;
/** Charges under way at once in each session. */
const WINDOW = 6;
/** In one session; the relay takes 1,000. */
const MOST_CHARGES = 900;
/** Between the relay's clock readings and ours lie two processes on a busy machine. */
const SLACK_MS = 1_000;
const BEAT_MS = 1_000;

/** A random number of 0 to 1, the same for the same seed (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** One session of a round, charging until the relay is dead or its client hangs up. */
class Charging {
  /** Ids of charges by whether they were answered with 200. */
  readonly sent = new Set<string>();
  readonly answered = new Set<string>();
  readonly refused: string[] = [];
  /** The client's BYE was answered. */
  over = false;
  private readonly call: Call;
  readonly name: string;
  private readonly random: () => number;
  private readonly underWay = new Map<number, readonly string[]>();
  private seq = 0;
  private stopped = false;
  private charges = 0;

  constructor(call: Call, name: string, random: () => number) {
    this.call = call;
    this.name = name;
    this.random = random;
  }

  /** The relay's name for the session. */
  get id(): string {
    return this.call.inviteAtServer.callId.replace("@tollgate", "");
  }

  /** True where the message belongs to this session: then it is dealt with. */
  received(message: SipMessage): boolean {
    if (message.callId !== this.call.inviteAtServer.callId) return false;
    if (message.isRequest) {
      // The client hangs up: two more charges in the answer (M16).
      const ids = [this.newId(), this.newId()];
      this.call.server.answer(message, 200, { body: bodyOf(ids), type: CHARGE_JSON });
      return true;
    }
    const ids = this.underWay.get(message.cseq?.number ?? 0) ?? [];
    this.underWay.delete(message.cseq?.number ?? 0);
    if (message.status === 200) for (const id of ids) this.answered.add(id);
    else if (!this.over && !this.stopped) this.refused.push(`${message.status} ${message.reason}`);
    this.go();
    return true;
  }

  /**
   * Keeps charges on their way: mostly one of a new id, now and then several at once, or one that was answered before.
   */
  go(): void {
    while (!this.stopped && this.underWay.size < WINDOW && this.charges < MOST_CHARGES) {
      const dice = this.random();
      const known = [...this.answered][Math.floor(dice * 7) * 3];
      if (dice > 0.9 && known !== undefined) this.charge([known]);
      else this.charge(dice < 0.1 ? [this.newId(), this.newId(), this.newId()] : [this.newId()]);
    }
  }

  stop(): void {
    this.stopped = true;
  }

  /** Repeats a charge, as an app server does that has got no answer; resolves to the answer's status. */
  async repeat(id: string): Promise<number> {
    const { server } = this.call;
    const seq = this.charge([id]);
    const message = await new Promise<SipMessage>((resolve) => {
      const before = server.onMessage;
      server.onMessage = (message) => {
        if (message.isRequest || message.cseq?.number !== seq || message.callId !== this.call.inviteAtServer.callId)
          return before(message);
        resolve(message);
        return true;
      };
    });
    return message.isRequest ? 0 : message.status;
  }

  /** The client hangs up now. */
  hangUp(): void {
    this.stop();
    const { client, invite, answer } = this.call;
    const before = client.onMessage;
    client.onMessage = (message) => {
      const mine = !message.isRequest && message.callId === invite.callId && message.cseq?.method === "BYE";
      if (mine) this.over = true;
      return mine || before(message);
    };
    client.inDialog("BYE", invite, answer, 2);
  }

  private newId(): string {
    const id = `${this.name}-${++this.charges}`;
    this.sent.add(id);
    return id;
  }

  private charge(ids: readonly string[]): number {
    const seq = ++this.seq;
    this.underWay.set(seq, ids);
    const { server, inviteAtServer, answerOfServer } = this.call;
    server.backInDialog("INFO", inviteAtServer, answerOfServer, seq, {
      headers: [["Info-Package", PACKAGE]],
      body: bodyOf(ids),
      type: CHARGE_JSON,
    });
    return seq;
  }
}

const bodyOf = (ids: readonly string[]) =>
  JSON.stringify({ charges: ids.map((id) => ({ id, item: id, unitPrice: "0.01", currency: "EUR" })) });

interface Round {
  readonly sessions: readonly Charging[];
  readonly killedAt: number;
}

/** Sessions that charge as fast as they are answered; some hang up on the way. Killed in the middle of it. */
async function play(
  relay: RelayChild,
  client: UdpPeer,
  server: UdpPeer,
  round: number,
  random: () => number,
): Promise<Round> {
  await relay.start();
  const sessions: Charging[] = [];
  server.onMessage = (message) =>
    (!message.isRequest || message.method === "BYE") && sessions.some((session) => session.received(message));
  for (let i = 0; i < SESSIONS; i++) {
    sessions.push(new Charging(await establish(client, server, "wine"), `${round}.${i}`, random));
  }
  const runsMs = ROUNDS_MS[round]! * (round === ROUNDS_MS.length - 1 ? 1 : random());
  for (const session of sessions) session.go();
  for (const session of sessions.slice(0, 2)) setTimeout(() => session.hangUp(), runsMs * (0.5 + random() / 2));
  // The moment is what the test is about: nothing is waited for.
  await new Promise((resolve) => setTimeout(resolve, runsMs));
  const killedAt = Date.now();
  await relay.kill();
  for (const session of sessions) session.stop();
  return { sessions, killedAt };
}

it(`loses nothing that it answered for and charges nothing twice, killed at any moment (P4) [KILL_SEED=${SEED}]`, async () => {
  console.log(`KILL_SEED=${SEED}`);
  const random = randomOf(SEED);
  let port = 0;
  const relayAt = () => ({ address: "127.0.0.1", port });
  const [client, server] = [await UdpPeer.open(relayAt), await UdpPeer.open(relayAt)];
  const relay = await RelayChild.create(() => ({
    limits: { perSourcePerSecond: 0 },
    recovery: "end", // those that go on: test/e2e/goes-on.test.ts
    services: [{ id: "wine" }],
    appServers: [{ id: "winery", uri: server.uri, services: ["wine"] }],
  }));
  onTestFinished(async () => {
    await relay.remove();
    await Promise.all([client.close(), server.close()]);
  });
  port = relay.port;

  const rounds: Round[] = [];
  for (const round of ROUNDS_MS.keys()) rounds.push(await play(relay, client, server, round, random));
  const process = await relay.start();
  const all = rounds.flatMap(({ sessions }) => sessions);
  const sent = all.flatMap((session) => [...session.sent]);
  const answered = all.flatMap((session) => [...session.answered]);

  // Who repeats a charge now learns that the session is over; whether it was charged before, the bill says.
  const last = all.at(-1)!;
  expect(await last.repeat([...last.sent].at(-1)!)).toBe(481);
  expect(await last.repeat([...last.answered].at(-1)!)).toBe(481);

  process.child.kill("SIGTERM");
  expect(await process.exit).toEqual({ code: 0, signal: null });
  const bill = await relay.bill();
  const sessions = bill.services.flatMap((service) => service.sessions);
  const billed = sessions.flatMap(({ items }) => items.map(({ item }) => item));

  expect(all.flatMap(({ refused }) => refused)).toEqual([]);
  expect(answered.length).toBeGreaterThan(100);
  expect(new Set(billed).size, "a charge is on the bill twice").toBe(billed.length);
  expect(missing(answered, billed), "answered, and not on the bill").toEqual([]);
  expect(missing(billed, sent), "on the bill, and never made").toEqual([]);
  expect(bill.totals[0]?.amount).toBe((billed.length / 100).toFixed(2));

  // Each session has ended, once: by its client, or with the relay.
  const ids = sessions.map(({ session }) => session);
  expect(new Set(ids).size).toBe(ids.length);
  // One that was killed before anything was answered in it may have come to nothing.
  expect(
    missing(
      all.filter((one) => one.answered.size > 0).map(({ id }) => id),
      ids,
    ),
  ).toEqual([]);
  for (const { session: id, time } of sessions) {
    const round = rounds.find((one) => one.sessions.some((session) => session.id === id))!;
    const session = round.sessions.find((one) => one.id === id)!;
    expect(time, `time of session ${session.name}`).toBeDefined();
    const { at, durationMs, endedBy } = time!;
    if (session.over) expect(endedBy).toBe("client");
    if (endedBy === "client") continue;
    expect(endedBy).toBe("relay: stopped without warning");
    // Charged until the relay was last alive, which it says once a second.
    expect(durationMs).toBeGreaterThanOrEqual(0);
    expect(at + durationMs).toBeLessThanOrEqual(round.killedAt + SLACK_MS);
    expect(at + durationMs).toBeGreaterThanOrEqual(Math.min(at, round.killedAt - BEAT_MS - SLACK_MS));
    if (round === rounds.at(-1)) expect(durationMs).toBeGreaterThan(0);
  }
}, 30_000);

function missing(wanted: readonly string[], among: readonly string[]): string[] {
  const there = new Set(among);
  return wanted.filter((one) => !there.has(one));
}
