import { describe, expect, it } from "vitest";
import { checkSessionState, type SessionState } from "../../src/relay/model/session-state.ts";
import { goOn, restore, snapshot } from "../../src/relay/session/snapshot.ts";
import { Chance } from "../simulation/chance.ts";
import { KeptDisk } from "../simulation/kept-disk.ts";
import { TestClock } from "../support/test-clock.ts";
import { establish, type LabOptions, lab } from "./harness.ts";

/**
 * A session that stands; `kill` throws it away and `again` makes it of what is on disk, as after a new start of the
 * relay.
 */
async function standing(options: LabOptions = {}) {
  const clock = new TestClock();
  const disk = new KeptDisk(clock);
  const l = await lab({
    clock,
    recorded: (event) => disk.commit([event]),
    ...options,
    core: { kept: disk.sessions, ...options.core },
  });
  disk.sessions.attach(l.core);
  const server = l.server("a");
  const invite = l.client.invite();
  await l.settle();
  const inviteAtServer = server.request("INVITE");
  const answerOfServer = server.answer(inviteAtServer, 200, { body: "v=1" });
  await l.settle();
  const answer = l.client.response(200);
  l.client.ack(invite, answer);
  await l.settle();
  server.request("ACK");
  clock.advance(60);
  const [{ id } = { id: "" }] = l.core.sessions.values();
  const again = (lastHeardAt?: number) => {
    const state = disk.read(id)!;
    l.core.sessions.get(id)?.release();
    const session = restore(l.core, state, lastHeardAt === undefined ? {} : { lastHeardAt });
    goOn(session, state);
    return session;
  };
  /** Kills the relay and starts it again `downMs` later; when it was killed. */
  const killed = (downMs = 3_000) => {
    const at = clock.wall();
    clock.advance(downMs);
    again(at);
    return at;
  };
  return { ...l, l, clock, disk, server, invite, answer, inviteAtServer, answerOfServer, id, again, killed };
}

/** The same where the client is told what it is charged. */
const advised = () =>
  standing({ charging: { advice: true }, tariff: { price: "0.10", incrementS: 1 }, session: { probeS: 600 } });

const ended = (events: readonly { type: string }[]) => events.find(({ type }) => type === "session.ended");

describe("a session that goes on in another process (P7)", () => {
  it("ends when whoever does not answer was last heard of", async () => {
    const { clock, client, server, events, again, l } = await standing({ session: { probeS: 60 } });
    clock.advance(5_000);
    const session = again(clock.wall() - 2_000);
    const killedAt = session.now() - 2_000;
    server.answer(server.request("OPTIONS"), 200);
    client.request("OPTIONS"); // and nothing more is heard of it
    clock.advance(40_000);
    server.answer(server.request("BYE"), 200);
    clock.advance(40_000);
    await l.settle();
    expect(ended(events)).toMatchObject({ at: killedAt, endedBy: "relay: client is gone: no answer to a probe" });
  });

  const ENDS = ["the app server hangs up", "its greatest duration is over", "the relay stops"] as const;
  it.each(ENDS)("is charged until its client was last heard of where that has not come back: %s", async (end) => {
    const before = await standing({ clientTransport: "tcp", session: { probeS: 0 } });
    const { clock, client, server, events, again, l, inviteAtServer, answerOfServer } = before;
    client.flow.open = false;
    const killedAt = clock.wall();
    clock.advance(3_000);
    const session = again(killedAt);
    client.request("OPTIONS");
    l.transactions.flowFailed(client.flow, "refused");
    clock.advance(20_000);
    if (end === "the app server hangs up") server.backInDialog("BYE", inviteAtServer, answerOfServer, 1);
    else {
      session.end({ code: end === "the relay stops" ? "stops" : "max-duration" });
      server.answer(server.request("BYE"), 200);
    }
    clock.advance(40_000);
    await l.settle();
    expect(ended(events)).toMatchObject({ at: killedAt });
  });

  it("is charged until its client was last heard of where the relay is killed again before that comes back", async () => {
    const { clock, client, server, events, killed, l } = await standing({ session: { probeS: 60 } });
    clock.advance(5_000);
    const killedAt = killed();
    server.answer(server.request("OPTIONS"), 200);
    client.request("OPTIONS"); // nobody answers
    clock.advance(4_000);
    killed();
    server.answer(server.request("OPTIONS"), 200);
    clock.advance(60_000);
    server.answer(server.request("BYE"), 200);
    clock.advance(40_000);
    await l.settle();
    expect(ended(events)).toMatchObject({ at: killedAt });
  });

  it("is charged until the second kill where its client came back after the first, and not after that", async () => {
    const { clock, client, server, events, killed, l } = await standing({ session: { probeS: 60 } });
    clock.advance(5_000);
    killed(0);
    server.answer(server.request("OPTIONS"), 200);
    client.answer(client.request("OPTIONS"), 200);
    clock.advance(4_000);
    const killedAgainAt = killed();
    server.answer(server.request("OPTIONS"), 200);
    clock.advance(60_000);
    server.answer(server.request("BYE"), 200);
    clock.advance(40_000);
    await l.settle();
    expect(ended(events)).toMatchObject({ at: killedAgainAt });
  });

  it("tells its client no more than it is charged, where its app server has not come back (ETSI TS 124 647)", async () => {
    const { clock, client, events, killed, l } = await advised();
    clock.advance(9_940);
    const killedAt = killed();
    client.answer(client.request("OPTIONS"), 200); // and nothing more is heard of the app server
    clock.advance(40_000);
    const bye = client.request("BYE");
    client.answer(bye, 200);
    clock.advance(40_000);
    await l.settle();
    expect(ended(events)).toMatchObject({ at: killedAt, durationMs: 10_000 });
    expect(bye.body.toString()).toContain("<currency-amount>1.00<");
  });

  it("hears the same in the answer to its BYE", async () => {
    const { clock, client, events, killed, l, invite, answer } = await advised();
    clock.advance(9_940);
    const killedAt = killed(0);
    client.answer(client.request("OPTIONS"), 200);
    clock.advance(20_000);
    client.inDialog("BYE", invite, answer, 2);
    clock.advance(10_000); // the app server does not answer it
    await l.settle();
    expect(ended(events)).toMatchObject({ at: killedAt });
    client.response(100);
    expect(client.response(200).body.toString()).toContain("<currency-amount>1.00<");
  });

  it("is charged until both were last heard of where it ends by a fault of the relay (decision 13)", async () => {
    const { clock, client, server, events, again, l } = await standing({ session: { probeS: 600 } });
    clock.advance(5_000);
    const killedAt = clock.wall() - 2_000;
    const session = again(killedAt);
    server.answer(server.request("OPTIONS"), 200);
    client.request("OPTIONS"); // and nothing more is heard of it
    clock.advance(10_000);
    session.crashed(new Error("a fault"));
    await l.settle();
    expect(ended(events)).toMatchObject({ at: killedAt, endedBy: "relay: fault" });
  });

  it("is charged until its end where its client answers BYE after all", async () => {
    const { clock, client, server, events, again, l } = await standing({ session: { probeS: 60 } });
    clock.advance(5_000);
    const session = again(clock.wall() - 2_000);
    client.request("OPTIONS"); // lost
    server.answer(server.request("OPTIONS"), 200);
    const now = session.now();
    session.end({ code: "stops" });
    client.answer(client.request("BYE"), 200);
    server.answer(server.request("BYE"), 200);
    await l.settle();
    expect(ended(events)).toMatchObject({ at: now });
  });

  it("ends when whoever is gone was heard of last, where that was after the kill", async () => {
    const { clock, client, server, events, again, l, invite, answer } = await standing({ session: { probeS: 60 } });
    const session = again(clock.wall() - 2_000);
    client.request("OPTIONS");
    server.answer(server.request("OPTIONS"), 200);
    client.inDialog("MESSAGE", invite, answer, 2, { body: "there", type: "text/plain" });
    server.answer(server.request("MESSAGE"), 200);
    client.response(200);
    const heardAt = session.now();
    clock.advance(32_000); // no answer to the probe
    server.answer(server.request("BYE"), 200);
    clock.advance(40_000);
    await l.settle();
    expect(ended(events)).toMatchObject({ at: heardAt });
  });

  it("waits for a client whose connection is gone, and is left when that has not come back", async () => {
    const tcp = { clientTransport: "tcp" as const };
    const { clock, client, server, events, again, l } = await standing({ ...tcp, session: { probeS: 0 } });
    client.flow.open = false;
    const lastHeardAt = clock.wall();
    const session = again(lastHeardAt);
    const probe = client.request("OPTIONS"); // by its Contact, which leads nowhere
    expect(probe.cseq!.number).toBe(1_001);
    l.transactions.flowFailed(client.flow, "refused");
    clock.advance(89_000);
    expect(l.core.sessions.get(session.id)).toBe(session);
    clock.advance(2_000);
    server.answer(server.request("BYE"), 200);
    clock.advance(40_000);
    await l.settle();
    expect(ended(events)).toMatchObject({ at: lastHeardAt });
  });

  it("goes on with a client that comes by another connection (RFC 5626 §4.5)", async () => {
    const tcp = { clientTransport: "tcp" as const };
    const before = await standing({ ...tcp, session: { probeS: 0 } });
    const { clock, client, server, again, l, invite, answer, events } = before;
    client.flow.open = false;
    again(clock.wall());
    client.request("OPTIONS");
    l.transactions.flowFailed(client.flow, "refused");
    const back = l.peer("192.0.2.50", 40_002, "tcp");
    clock.advance(60_000);
    back.inDialog("MESSAGE", invite, answer, 2, { body: "back", type: "text/plain" });
    server.answer(server.request("MESSAGE"), 200);
    back.response(200);
    server.backInDialog("BYE", before.inviteAtServer, before.answerOfServer, 1);
    back.answer(back.request("BYE"), 200);
    await l.settle();
    expect(ended(events)).toMatchObject({ endedBy: "server" });
  });

  it("acknowledges a 2xx of before that comes again, and no other (RFC 3261 §13.2.2.4)", async () => {
    const { server, again, answerOfServer, inviteAtServer, l } = await standing({ session: { probeS: 0 } });
    again();
    l.transactions.close(); // those of the process before
    server.send(answerOfServer);
    expect(server.request("ACK").cseq).toMatchObject({ number: 1, method: "ACK" });
    server.answer(inviteAtServer, 200, { tag: "another" });
    expect(server.inbox).toEqual([]);
  });

  it("repeats nothing here of what was under way, once it was let go of: the other process sends it (P3)", async () => {
    const l = await lab();
    const { invite, answer } = await establish(l);
    l.client.inDialog("MESSAGE", invite, answer, 2, { body: "hello" });
    l.client.inDialog("INVITE", invite, answer, 3, { body: "v=0" });
    const server = l.server("a");
    const sent = server.inbox.length;
    expect(sent).toBeGreaterThan(0);
    l.clock.advance(600);
    const again = server.inbox.length;
    expect(again).toBeGreaterThan(sent); // Timers E and A (RFC 3261 §17.1)
    for (const session of l.core.sessions.values()) session.release();
    l.clock.advance(31_000);
    expect(server.inbox.length).toBe(again);
  });

  it("is never written so late that numbers could be taken twice", async () => {
    const { client, server, invite, answer, disk, id, core, l } = await standing({
      limits: { perSourcePerSecond: 0 },
      session: { probeS: 0 },
    });
    for (let i = 0; i < 2_300; i++) {
      client.inDialog("MESSAGE", invite, answer, 2 + i, { body: "x", type: "text/plain" });
      server.answer(server.request("MESSAGE"), 200);
      client.response(200);
      if (i % 50 === 0) disk.commit([]); // others' events
      const behind = core.sessions.get(id)!.server!.dialog.localSeq - disk.read(id)!.server.localSeq;
      expect(behind).toBeLessThan(1_000);
    }
    await l.settle();
  });
});

/** What may stand anywhere in a file that somebody has written to. */
const JUNK: readonly unknown[] = [
  null,
  "",
  "x",
  "\0",
  "<sip:",
  "sip:a@192.0.2.9",
  "y".repeat(5_000),
  -1,
  0,
  0.5,
  1e15,
  true,
  [],
  ["x"],
  {},
  { established: "steady" },
];

/** Every place in a value that holds something. */
function placesIn(value: unknown, at: readonly string[] = []): (readonly string[])[] {
  if (typeof value !== "object" || value === null) return [at];
  return [at, ...Object.entries(value).flatMap(([name, one]) => placesIn(one, [...at, name]))];
}

it("whatever stands in a state: it is refused, or restored to a session that can be ended (decision 13)", async () => {
  const { l, client, server, inviteAtServer, answerOfServer, id } = await standing({ balance: "50.00" });
  const charges = [{ id: "1", item: "cork", unitPrice: "0.50", currency: "EUR" }];
  server.backInDialog("INFO", inviteAtServer, answerOfServer, 1, {
    headers: [["Info-Package", "tollgate-charge"]],
    type: "application/vnd.tollgate.charge+json",
    body: JSON.stringify({ charges }),
  });
  await l.settle();
  const whole = JSON.stringify(snapshot(l.core.sessions.get(id)!));
  expect(whole).toContain("cork");
  l.core.sessions.get(id)!.release();
  const chance = new Chance(17);
  const places = placesIn(JSON.parse(whole)).filter((at) => at.length > 0);
  let restored = 0;
  for (let i = 0; i < 6_000; i++) {
    const state = JSON.parse(whole) as Record<string, unknown>;
    const at = chance.of(places);
    let parent = state;
    for (const name of at.slice(0, -1)) parent = parent[name] as Record<string, unknown>;
    parent[at.at(-1)!] = chance.of(JUNK);
    const read = checkSessionState(state);
    if (!read.ok) continue;
    restored++;
    const session = restore(l.core, read.value satisfies SessionState);
    goOn(session, read.value);
    session.end({ code: "stops" });
    await Promise.resolve();
    session.release();
    client.inbox.length = 0;
    server.inbox.length = 0;
  }
  expect(restored).toBeGreaterThan(500);
  expect(l.core.counters.crashed).toBe(0);
});
