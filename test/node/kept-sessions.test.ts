import { describe, expect, it } from "vitest";
import type { Config } from "../../src/config/schema.ts";
import { KeptSessions, readKept } from "../../src/node/kept-sessions.ts";
import { SessionsBefore } from "../../src/node/sessions-before.ts";
import { goOn, restore } from "../../src/relay/session/snapshot.ts";
import { silent } from "../charging/samples.ts";
import { lab } from "../relay/harness.ts";
import { KeptDisk } from "../simulation/kept-disk.ts";
import { TestClock } from "../support/test-clock.ts";

async function established() {
  const clock = new TestClock();
  const disk = new KeptDisk(clock);
  const l = await lab({ clock, recorded: (event) => disk.commit([event]), core: { kept: disk.sessions } });
  disk.sessions.attach(l.core);
  const invite = l.client.invite();
  await l.settle();
  const server = l.server("a");
  const inviteAtServer = server.request("INVITE");
  const answerOfServer = server.answer(inviteAtServer, 200);
  await l.settle();
  const answer = l.client.response(200);
  return { ...l, l, disk, clock, server, invite, inviteAtServer, answerOfServer, answer };
}

describe("sessions on disk (P7)", () => {
  it("a session that is over before the next commit is not written", async () => {
    const { l, disk, client, server, invite, answer } = await established();
    const before = disk.writes;
    client.ack(invite, answer);
    client.inDialog("BYE", invite, answer, 2);
    server.request("ACK");
    server.answer(server.request("BYE"), 200);
    await l.settle();
    expect(disk.names).toEqual([]);
    expect(disk.writes).toBe(before);
  });

  it("it is there with its start, and gone with its end", async () => {
    const { l, disk, client, server, invite, answer, core } = await established();
    expect(disk.names).toEqual([]);
    client.ack(invite, answer);
    await l.settle();
    const [session] = core.sessions.values();
    expect(disk.names).toEqual([session!.id]);
    server.request("ACK");
    client.inDialog("BYE", invite, answer, 2);
    server.answer(server.request("BYE"), 200);
    await l.settle();
    expect(disk.names).toEqual([]);
  });

  it("an answer that nobody acknowledges is there soon, and gone when it is given up", async () => {
    const { disk, clock, core } = await established();
    clock.advance(60);
    const [session] = core.sessions.values();
    expect(disk.read(session!.id)).toMatchObject({ chart: { value: "answered" }, answer: { seq: 1, serverSeq: 1 } });
    clock.advance(200_000);
    expect(core.sessions.size).toBe(0);
    expect(disk.names).toEqual([]);
  });

  it("goes on from what is there: CSeqs skip 1,000, and are not skipped twice", async () => {
    const { l, disk, clock, client, server, invite, answer, core } = await established();
    client.ack(invite, answer);
    await l.settle();
    server.request("ACK");
    const seqs: number[] = [];
    for (let life = 0; life < 3; life++) {
      const [session] = core.sessions.values();
      const state = disk.read(session!.id)!;
      session!.release();
      expect(core.legs.size).toBe(0);
      goOn(restore(core, state), state);
      client.inDialog("MESSAGE", invite, answer, 10 + life, { body: "hello", type: "text/plain" });
      const passed = server.request("MESSAGE");
      seqs.push(passed.cseq!.number);
      server.answer(passed, 200);
      client.response(200);
      clock.advance(60);
    }
    expect(seqs).toEqual([1_002, 2_003, 3_004]);
  });

  it("those of a relay that was away for too long do not go on, nor one that has ended by now", async () => {
    const { l, client, invite, answer, disk, core } = await established();
    client.ack(invite, answer);
    await l.settle();
    const [session] = core.sessions.values();
    const away = (downMs: number | undefined, recovery: Config["recovery"] = { withinS: 30, reconnectS: 90 }) =>
      new SessionsBefore({
        found: readKept(disk.entries),
        keeper: new KeptSessions(() => {}),
        recovery,
        heartbeat: { downMs, firstNow: 5_000, lastBeatAt: 4_000 },
        log: silent,
      });
    const goingOn = [1_000, 30_000, 0, -900, 30_001, -1_000, undefined].map((ms) => away(ms).goingOn.size);
    expect(goingOn).toEqual([1, 1, 1, 1, 0, 0, 0]);
    expect(away(1_000, "end").goingOn.size).toBe(0);
    expect(away(1_000).firstNow).toBe(5_000);
    expect(away(31_000).firstNow).toBeUndefined();
    const one = away(1_000);
    await one.leaveOut(async (ids) => new Set(ids));
    expect([...one.goingOn, one.firstNow]).toEqual([undefined]);
    const asked: string[][] = [];
    await away(1_000).leaveOut(async (ids) => {
      asked.push([...ids]);
      return new Set();
    });
    expect(asked).toEqual([[session!.id]]);
  });

  it("what rang in a session when the process died is cancelled by the next one, and who waits may ask again (M22, RFC 3261 §14.1)", async () => {
    const { l, core, client, server, invite, answer, inviteAtServer, answerOfServer, disk } = await established();
    client.ack(invite, answer);
    server.request("ACK");
    await l.settle();
    const change = server.backInDialog("INVITE", inviteAtServer, answerOfServer, 2, { body: "a=sendonly" });
    const ringing = client.request("INVITE");
    client.answer(ringing, 180);
    server.response(180);
    l.clock.advance(60);
    const [session] = core.sessions.values();
    const found = readKept(disk.entries);
    session!.release();
    client.inbox.length = server.inbox.length = 0;
    const heartbeat = { downMs: 1_000, firstNow: 5_000, lastBeatAt: 4_000 };
    const next = new SessionsBefore({
      found,
      keeper: new KeptSessions(() => {}),
      recovery: { withinS: 30, reconnectS: 90 },
      heartbeat,
      log: silent,
    });
    next.restore(core);
    next.goOn(core);
    const cancel = client.request("CANCEL");
    expect([cancel.callId, cancel.cseq!.number]).toEqual([ringing.callId, ringing.cseq!.number]);
    const refused = server.response(491);
    expect([refused.cseq!.number, refused.toTag]).toEqual([change.cseq!.number, change.toTag]);
    expect(core.sessions.size).toBe(1);
  });

  it("it says of which sessions an end had not come back to the relay before, also of those that do not go on", async () => {
    const { l, client, invite, answer, disk, core } = await established();
    client.ack(invite, answer);
    await l.settle();
    const [session] = core.sessions.values();
    const state = disk.read(session!.id)!;
    const relayAfter = (downMs: number) => {
      const found = [{ id: session!.id, records: [], state: { ok: true, value: unheard } as const }];
      const heartbeat = { downMs, firstNow: 5_000, lastBeatAt: 4_000 };
      const recovery = { withinS: 30, reconnectS: 90 };
      return new SessionsBefore({ found, keeper: new KeptSessions(() => {}), recovery, heartbeat, log: silent });
    };
    const unheard = {
      ...state,
      client: { ...state.client, unheardSince: 7_000 },
      server: { ...state.server, unheardSince: 6_000 },
    };
    expect([...relayAfter(1_000).heardUntil, ...relayAfter(60_000).heardUntil]).toEqual([
      [session!.id, 6_000],
      [session!.id, 6_000],
    ]);
  });

  it.each([
    ["a session that cannot be read", [["s1", "{}"]]],
    ["one of a newer Tollgate", [["s1", '{"version":2}']]],
    ["one that is no JSON", [["s1", "\0"]]],
    ["charges without a session", [["s1\n1", '{"id":"1"}']]],
  ])("%s does not go on, is named in the log, and is removed", (_, entries) => {
    const keeper = new KeptSessions(() => {});
    const before = new SessionsBefore({
      found: readKept(entries as [string, string][]),
      keeper,
      recovery: { withinS: 30, reconnectS: 90 },
      heartbeat: { downMs: 1_000, firstNow: 5_000, lastBeatAt: 4_000 },
      log: silent,
    });
    expect([...before.goingOn]).toEqual([]);
    const { removals } = keeper.changes([])!;
    expect(removals).toEqual(expect.arrayContaining([entries[0]![0]]));
    expect(keeper.changes([])).toBeUndefined();
  });
});
