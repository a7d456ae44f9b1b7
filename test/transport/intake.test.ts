import { describe, expect, it } from "vitest";
import { Intake, MAY_WAIT_MS } from "../../src/transport/intake.ts";
import { callIdKey, KNOWN, keyOfCallId, NEW, URGENT, urgencyOf } from "../../src/transport/urgency.ts";
import { TestClock } from "../support/test-clock.ts";

/* More comes than can be handled: who goes first, and who is refused. */

const message = (start: string, ...lines: string[]) =>
  Buffer.from([start, "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1", ...lines, "", ""].join("\r\n"));
const request = (method: string, ...lines: string[]) => message(`${method} sip:wine@portal.com SIP/2.0`, ...lines);
const WITHIN = "To: <sip:wine@portal.com>;tag=1";
const OUTSIDE = 'To: "tag=1" <sip:wine@portal.com>';

describe("how urgent a message is, by its bytes", () => {
  it.each<[string, Buffer, number]>([
    ["a response", message("SIP/2.0 200 OK"), URGENT],
    ["ACK", request("ACK", OUTSIDE), URGENT],
    ["BYE", request("BYE", OUTSIDE), URGENT],
    ["CANCEL", request("CANCEL", OUTSIDE), URGENT],
    ["PRACK", request("PRACK", OUTSIDE), URGENT],
    ["a re-INVITE", request("INVITE", WITHIN), URGENT],
    ["a re-INVITE, in compact form", request("INVITE", "t : <sip:wine@portal.com> ;\tTAG=1"), URGENT],
    ["a re-INVITE whose credentials stand first", request("INVITE", "Authorization: Digest x", WITHIN), URGENT],
    ["INFO", request("INFO", WITHIN), URGENT],
    ["UPDATE", request("UPDATE", "From: <sip:a@b>;tag=9", WITHIN), URGENT],
    ["SUBSCRIBE in a dialog", request("SUBSCRIBE", WITHIN), URGENT],
    ["an INVITE", request("INVITE", "From: <sip:a@b>;tag=9", OUTSIDE), NEW],
    ["an INVITE, in compact form", request("INVITE", "f: <sip:a@b>;tag=9", "t: <sip:wine@portal.com>"), NEW],
    ["an INVITE with credentials", request("INVITE", OUTSIDE, "Authorization: Digest username=alice"), KNOWN],
    ["the same for a proxy", request("INVITE", OUTSIDE, "Proxy-Authorization: Digest username=alice"), KNOWN],
    ["an INVITE whose body has all of that", request("INVITE", OUTSIDE, "", WITHIN, "Authorization: x"), NEW],
    ["a MESSAGE, which may bring charges", request("MESSAGE", OUTSIDE), KNOWN],
    ["REGISTER", request("REGISTER", OUTSIDE), NEW],
    ["OPTIONS", request("OPTIONS", "Timestamp: 1", "Allow: INVITE", OUTSIDE), NEW],
    ["PUBLISH", request("PUBLISH", OUTSIDE), NEW],
    ["SUBSCRIBE", request("SUBSCRIBE", OUTSIDE), NEW],
    ["nothing that can be read", Buffer.from("hello"), NEW],
    ["a line without end", Buffer.from("INVITE sip:a SIP/2.0\r\nTo: <sip:a>;tag=1"), URGENT],
  ])("%s", (_, bytes, urgency) => {
    expect(urgencyOf(bytes)).toBe(urgency);
  });
});

describe("the Call-ID of a message, by its bytes", () => {
  const of = (...lines: string[]) => callIdKey(request("INVITE", ...lines), 7);

  it("is found in its long and its compact form, however it is spaced", () => {
    const key = of("Call-ID: a@b");
    expect(key).not.toBe(0);
    for (const line of ["call-id:a@b", "CALL-ID \t: a@b ", "i:a@b", "I : a@b"]) expect(of(OUTSIDE, line)).toBe(key);
    expect(of("Call-ID: a@c")).not.toBe(key);
    expect(callIdKey(request("INVITE", "Call-ID: a@b"), 8)).not.toBe(key);
  });

  it("is the same number where it was read already", () => {
    for (const id of ["a@b", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6@192.0.2.1", "\u00e9\u00ff"])
      expect(keyOfCallId(id, 7)).toBe(callIdKey(Buffer.from(String(request("INVITE", `Call-ID: ${id}`)), "latin1"), 7));
    expect(keyOfCallId("a@b", 8)).not.toBe(keyOfCallId("a@b", 7));
  });

  it("is not taken from another field, nor from the body", () => {
    for (const line of ["Call-Info: a@b", "Identity: a@b", "In-Reply-To: a@b", "", "Callxid: a@b"])
      expect(of(line, ...(line === "" ? ["Call-ID: a@b"] : []))).toBe(0);
    expect(callIdKey(Buffer.from("hello"), 7)).toBe(0);
    expect(callIdKey(Buffer.from("INVITE sip:a SIP/2.0\r\nCall-ID: a@b"), 7)).toBe(of("Call-ID: a@b"));
  });
});

const INVITE = request("INVITE", OUTSIDE);
const call = (id: string | number, ...lines: string[]) => request("INVITE", OUTSIDE, `Call-ID: ${id}`, ...lines);
const CREDENTIALS = "Authorization: Digest x";
const KNOWN_INVITE = request("INVITE", OUTSIDE, "Authorization: Digest x");
const BYE = request("BYE", WITHIN);
const nameOf = (bytes: Buffer) => {
  if (bytes === BYE) return "bye";
  if (bytes === INVITE) return "new";
  if (bytes === KNOWN_INVITE) return "known";
  return /Call-ID: (.*)\r/.exec(bytes.toString())?.[1] ?? "?";
};

/** An intake whose turns end when told. Handling a message takes `costMs`, with credentials `knownMs`. */
function intake(costMs = 0, mayWaitMs = MAY_WAIT_MS, knownMs = costMs) {
  const clock = new TestClock();
  const handled: string[] = [];
  const refused: string[] = [];
  const held: string[] = [];
  const deferred: (() => void)[] = [];
  let cpuMs = 0;
  /** The process works for so long. */
  const work = (ms: number) => {
    cpuMs += ms;
    clock.advance(ms);
  };
  const queue = new Intake<string>(
    {
      handle(bytes) {
        handled.push(nameOf(bytes));
        work(bytes.includes(CREDENTIALS) ? knownMs : costMs);
        return /^INVITE [\s\S]*\nCall-ID: (.*)\r/.exec(bytes.toString("latin1"))?.[1];
      },
      refuse: (bytes) => refused.push(nameOf(bytes)),
      hold: (origin, on) => held.push(`${origin} ${on}`),
      fellBehind: () => {},
    },
    clock,
    mayWaitMs,
    (then) => deferred.push(then),
    () => cpuMs,
  );
  return {
    clock,
    work,
    queue,
    handled,
    refused,
    held,
    /** What one turn of the event loop reads. */
    turn(...read: readonly Buffer[]) {
      for (const bytes of read) queue.take(bytes, "socket", "192.0.2.1", 5060);
      for (const then of deferred.splice(0)) then();
    },
  };
}

/** The relay has been behind before, and knows what a message costs. */
function known({ turn, queue, handled }: Pick<ReturnType<typeof intake>, "turn" | "queue" | "handled">): void {
  turn(...times(32, BYE));
  for (let n = 0; n < 3; n++) turn(...times(31, BYE));
  while (queue.isBehind) turn();
  handled.length = 0;
}

const times = (n: number, bytes: Buffer) => Array.from({ length: n }, () => bytes);

describe("as long as the relay keeps up", () => {
  it("each message is handled as soon as it is read, also in bursts", () => {
    const { queue, handled, turn } = intake();
    for (let n = 0; n < 100; n++) turn(...times(n % 20, INVITE));
    expect(handled.length).toBe(950);
    expect(queue.isBehind).toBe(false);
    expect(queue.stats).toEqual({ overloads: 0, refused: 0, calls: 0, lost: 0 });
  });
});

describe("when a turn has brought more than is read in one", () => {
  /** `before`: a Call-ID that is let in while the relay still keeps up. */
  function behind(costMs = 0, mayWaitMs = MAY_WAIT_MS, before?: string, knownMs = costMs) {
    const it = intake(costMs, mayWaitMs, knownMs);
    known(it);
    if (before !== undefined) it.turn(call(before));
    it.turn(...times(32, INVITE));
    expect(it.queue.isBehind).toBe(true);
    // It has been so for a while, if messages cost anything: some of these still wait.
    if (costMs >= 1) for (let n = 0; n < 24; n++) it.turn(...times(n === 0 ? 100 : 0, BYE));
    it.handled.length = 0;
    return it;
  }

  it("what belongs to sessions goes before what begins, in the order in which it came", () => {
    const { turn, handled } = behind();
    const known = call("known", CREDENTIALS);
    turn(call("known"));
    handled.length = 0;
    turn(INVITE, known, BYE, INVITE, known, BYE);
    expect(handled).toEqual(["bye", "bye", "known", "known", "new", "new"]);
  });

  it("reads all that the kernel has before it handles much", () => {
    const { turn, handled } = behind();
    turn(...times(32, INVITE));
    turn(...times(31, INVITE), BYE);
    expect(handled.length).toBeLessThanOrEqual(16);
    expect(handled).toContain("bye");
  });

  it("refuses what begins something once it has waited too long, before 100 ms; nothing of sessions", () => {
    const { turn, handled, refused, clock, queue } = behind(1, MAY_WAIT_MS, "known");
    turn(...times(32, INVITE), ...times(12, call("known", CREDENTIALS)), ...times(84, BYE));
    clock.advance(MAY_WAIT_MS);
    turn();
    expect(new Set(refused)).toEqual(new Set(["new"]));
    clock.advance(8 * MAY_WAIT_MS);
    while (queue.isBehind) turn();
    expect(refused.filter((name) => name === "new").length).toBe(32);
    expect(refused).toContain("known");
    expect(handled.filter((name) => name === "bye").length).toBeGreaterThanOrEqual(64);
    expect(refused).not.toContain("bye");
    expect(MAY_WAIT_MS).toBeLessThan(100);
    expect(queue.stats).toMatchObject({ refused: refused.length, calls: refused.length });
  });

  it("says the same to an INVITE that is sent again, and to the one with credentials", () => {
    const { turn, handled, refused, clock, queue } = behind(1);
    const ids = Array.from({ length: 200 }, (_, i) => String(i));
    clock.advance(1_100); // those of before have answered their challenges
    turn();
    turn(...ids.map((id) => call(id)));
    for (let n = 0; n < 200 && refused.length < 20; n++) turn();
    const [letIn, turnedAway] = [handled.filter((name) => name !== "bye"), [...refused]];
    expect(letIn.length).toBeGreaterThan(2);
    handled.length = 0;
    refused.length = 0;
    turn(...times(20, BYE));
    turn(...letIn.map((id) => call(id, CREDENTIALS)), ...turnedAway.map((id) => call(id, CREDENTIALS)));
    turn(...letIn.map((id) => call(id)), ...turnedAway.map((id) => call(id)));
    while (queue.isBehind) turn();
    for (const id of letIn) expect(handled.filter((name) => name === id).length).toBe(2);
    for (const id of turnedAway) {
      expect(refused.filter((name) => name === id).length).toBe(2);
      expect(handled).not.toContain(id);
    }
  });

  it("lets nobody in before others for credentials that answer no challenge", () => {
    const { turn, handled, clock } = behind();
    turn(INVITE, call("early", CREDENTIALS));
    clock.advance(1_100);
    turn();
    turn(INVITE, call("late", CREDENTIALS), INVITE);
    expect(handled).toEqual(["new", "early", "new", "late", "new"]);
  });

  it("lets who answers a challenge of before it fell behind go first, for ten seconds", () => {
    const { turn, handled, clock } = behind(0, MAY_WAIT_MS, "before");
    turn(INVITE, call("before", CREDENTIALS), INVITE);
    clock.advance(10_100);
    turn();
    turn(INVITE, call("before", CREDENTIALS));
    expect(handled).toEqual(["before", "new", "new", "new", "before"]);
  });

  /**
   * Each millisecond `perMs` calls begin. Their challenge costs 0.1 ms, and `thinkMs` later, all at once every
   * `thinkMs`, they come with credentials, which costs 0.5 ms.
   */
  function flood(perMs: number, forMs: number, thinkMs: number, answers: boolean) {
    const { turn, handled, refused, clock } = behind(0.1, MAY_WAIT_MS, undefined, 0.5);
    const [first, second, refusedThen] = [new Set<string>(), new Set<string>(), new Set<string>()];
    const began = clock.monotonic();
    const think: Buffer[] = [];
    for (let n = 0, thought = began; clock.monotonic() < began + forMs; ) {
      const read: Buffer[] = [];
      while (n < (clock.monotonic() - began) * perMs) read.push(call(`c${n++}`));
      if (clock.monotonic() >= thought + thinkMs) {
        read.push(...think.splice(0));
        thought = clock.monotonic();
      }
      turn(...read);
      clock.advance(0.1);
      for (const id of handled.splice(0)) {
        if (!id.startsWith("c")) continue;
        if (!first.has(id)) {
          first.add(id);
          if (answers) think.push(call(id, CREDENTIALS));
        } else second.add(id);
      }
      for (const id of refused.splice(0)) if (first.has(id)) refusedThen.add(id);
    }
    return { first: first.size, second: second.size, refusedThen: refusedThen.size };
  }

  it("lets no more in than it can serve when they come back, in whatever crowds they do", () => {
    const { first, second, refusedThen } = flood(4, 8_000, 150, true);
    expect(refusedThen).toBe(0);
    expect(second).toBeGreaterThan(0.9 * first);
    expect(second).toBeGreaterThan(0.9 * (8_000 / 0.7)); // 0.6 ms each, and the loop's own time
  });

  it("keeps nobody out for those who never answer a challenge", () => {
    expect(flood(4, 2_000, 50, false).first).toBeGreaterThan(0.95 * 4 * 2_000);
  });

  it("does not let in without end what comes under one Call-ID", () => {
    const { turn, handled, clock } = behind();
    clock.advance(1_100);
    turn(call("one"));
    turn(INVITE, ...times(20, call("one", CREDENTIALS)));
    expect(handled.indexOf("new")).toBe(17); // the first, and 16 more
  });

  it("hears somebody anew who was refused and comes again after the shortest Retry-After", () => {
    const { turn, handled, refused, clock, queue } = behind(1);
    turn(...times(20, INVITE), call("one"), ...times(100, INVITE));
    clock.advance(60);
    for (let n = 0; n < 10; n++) turn();
    expect(refused).toContain("one");
    clock.advance(1_000);
    while (queue.isBehind) turn();
    turn(...times(32, BYE));
    turn(call("one"));
    expect(handled).toContain("one");
  });

  it("does not count what gives way to messages, nor the time of other programs", () => {
    const { turn, refused, work, clock, queue } = behind(0.1);
    for (let n = 0; n < 60; n++) {
      turn(...times(8, INVITE));
      work(20); // handshakes
      clock.advance(60); // others
    }
    while (queue.isBehind) turn();
    expect(refused).toEqual([]);
  });

  it("refuses nobody for a wait where that has no bound", () => {
    const { turn, refused, clock, queue } = behind(1, 0);
    turn(...times(200, INVITE));
    clock.advance(5_000);
    while (queue.isBehind) turn();
    expect(refused).toEqual([]);
  });

  it("counts the time for which messages lay in the kernel", () => {
    const lab = intake(1);
    known(lab);
    const { turn, refused, clock, queue } = lab;
    queue.start();
    clock.advance(1_000);
    (clock as unknown as { time: number }).time += 200; // the loop stands still
    clock.advance(0);
    turn(...times(32, INVITE)); // they came meanwhile
    turn(...times(600, INVITE));
    for (let n = 0; n < 120; n++) {
      turn();
      clock.advance(1);
    }
    expect(refused.length).toBeGreaterThan(60);
    expect(queue.longestDelayMs).toBeGreaterThanOrEqual(180);
    clock.advance(25_000);
    expect(queue.longestDelayMs).toBeGreaterThanOrEqual(180); // whoever asks takes it from nobody
    clock.advance(35_000);
    expect(queue.longestDelayMs).toBeLessThan(20);
    queue.close();
    expect(clock.armed).toBe(0);
  });

  it("refuses nobody where only the process stood still, and what waits is soon done", () => {
    const { turn, refused, handled, clock } = behind();
    turn(...times(31, INVITE));
    clock.advance(300);
    turn(...times(31, INVITE));
    turn();
    expect(refused).toEqual([]);
    expect(handled.length).toBe(62);
  });

  it("refuses nobody where it has stood still for long, and does at once what came meanwhile", () => {
    const { turn, refused, clock, queue } = intake(0.2);
    known({ turn, queue, handled: [] });
    turn(...times(32, INVITE));
    clock.advance(800);
    turn(...times(280, INVITE));
    while (queue.isBehind) turn();
    expect(refused).toEqual([]);
  });

  it.each([
    ["once", 400],
    ["again and again", 100],
  ])("refuses nobody at half of what it can do, though the process stands still %s", (_, stoodMs) => {
    const lab = intake(0.25);
    known(lab);
    const { turn, refused, clock, queue } = lab;
    queue.start();
    const began = clock.monotonic();
    let [n, stoodAt] = [0, began];
    while (clock.monotonic() < began + 2_000) {
      const read: Buffer[] = [];
      for (; n < (clock.monotonic() - began) * 2; n++) read.push(INVITE);
      turn(...read);
      clock.advance(0.1);
      if (clock.monotonic() < stoodAt + 3 * stoodMs) continue;
      (clock as unknown as { time: number }).time += stoodMs;
      clock.advance(0);
      stoodAt = clock.monotonic();
    }
    queue.close();
    expect(refused).toEqual([]);
  });

  it("refuses nobody before it knows what a message costs", () => {
    const { turn, refused, clock } = intake(1);
    turn(...times(32, INVITE));
    turn(...times(100, INVITE));
    clock.advance(60);
    turn();
    expect(refused).toEqual([]);
  });

  it("works on in small steps, so that the reading goes on", () => {
    const { turn, handled } = behind(1);
    turn(...times(31, BYE));
    expect(handled.length).toBeLessThan(5);
  });

  it("gives messages half of the time, whatever else there is to do in a turn", () => {
    const { turn, handled, work } = behind(0.5);
    for (let n = 0; n < 10; n++) {
      turn(...times(31, BYE));
      work(20); // thousands who connect
    }
    expect(handled.length).toBeGreaterThan(300);
  });

  it("is as before when nothing waits any more", () => {
    const { turn, queue, handled } = behind();
    for (let n = 0; n < 6; n++) turn();
    expect(queue.isBehind).toBe(false);
    turn(INVITE);
    expect(handled).toEqual(["new"]);
  });

  it("reads no further where many requests of one connection wait that begin something", () => {
    const { queue, turn, held } = behind();
    for (let n = 0; n < 300; n++) queue.take(INVITE, "tcp", "192.0.2.1", 5060);
    for (let n = 0; n < 300; n++) queue.take(BYE, "another", "192.0.2.1", 5060);
    expect(held).toEqual(["tcp true"]);
    while (queue.isBehind) turn();
    expect(held).toEqual(["tcp true", "tcp false"]);
  });

  it("refuses what begins something for which there is no room, and counts what is lost of sessions (decision 14)", () => {
    const { queue, refused } = behind();
    for (let n = 0; n < 5_000; n++) queue.take(INVITE, "socket", "192.0.2.1", 5060);
    expect(refused.length).toBe(5_000 - 4_096);
    const large = Buffer.concat([BYE, Buffer.alloc(60_000)]);
    for (let n = 0; n < 1_000; n++) queue.take(large, "socket", "192.0.2.1", 5060);
    expect(queue.stats.lost).toBeGreaterThan(400);
  });
});
