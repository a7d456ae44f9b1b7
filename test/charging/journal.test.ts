import { beforeAll, describe, expect, it } from "vitest";
import type { Bus } from "../../src/bus/types.ts";
import {
  type ChargingEvent,
  chargeMade,
  sessionChanged,
  sessionEnded,
  sessionStarted,
  startedId,
} from "../../src/charging/events/events.ts";
import { EventError } from "../../src/charging/events/faults.ts";
import { type JournalOptions, openJournal } from "../../src/charging/journal/journal.ts";
import { systemClock } from "../../src/support/clock.ts";
import { LmdbDisk } from "../../src/support/lmdb-disk.ts";
import { TestClock } from "../support/test-clock.ts";
import { compiled } from "./built.ts";
import { named, run } from "./children.ts";
import { freshFolder } from "./folders.ts";
import { aCharge, deferred, facts, JANUARY, silent } from "./samples.ts";

const event = (n: number): ChargingEvent => sessionStarted(facts({ id: `s${n}` }), JANUARY + n);
const events = (count: number): ChargingEvent[] => Array.from({ length: count }, (_, n) => event(n));

/** A bus that takes everything, until told otherwise; keeps what it took. */
class FakeBus implements Bus {
  readonly taken: ChargingEvent[] = [];
  batches = 0;
  attempts = 0;
  away = false;
  private waits: { readonly count: number; readonly resolve: () => void }[] = [];

  async publish(batch: readonly ChargingEvent[]): Promise<void> {
    this.attempts++;
    if (this.away) throw new Error("the bus is away");
    this.batches++;
    this.taken.push(...batch);
    this.waits = this.waits.filter(({ count, resolve }) => this.taken.length < count || resolve());
  }

  has(count: number): Promise<void> {
    const { promise, resolve } = deferred();
    if (this.taken.length >= count) resolve();
    else this.waits.push({ count, resolve });
    return promise;
  }

  consume(): never {
    throw new Error("nobody consumes here");
  }

  async close(): Promise<void> {}
}

const open = (path: string, bus: Bus, over: Partial<JournalOptions> = {}) =>
  openJournal({
    path,
    bus,
    clock: systemClock,
    log: silent,
    publishEveryMs: 1,
    commitEveryMs: 2,
    minFreeDiskBytes: 0,
    ...over,
  });

/** What a journal would publish after a new start. */
async function leftIn(path: string): Promise<ChargingEvent[]> {
  const bus = new FakeBus();
  const journal = await open(path, bus);
  await journal.drained();
  await journal.close();
  return bus.taken;
}

describe("the journal (decision 8)", () => {
  it("publishes what is appended, in order and whole", async () => {
    const bus = new FakeBus();
    const journal = await open(freshFolder(), bus);
    await Promise.all(events(100).map((one) => journal.append(one)));
    for (let n = 100; n < 105; n++) await journal.append(event(n));
    await journal.drained();
    expect(bus.taken).toEqual(events(105));
    expect(journal.stats()).toMatchObject({
      appended: 105,
      published: 105,
      pendingEvents: 0,
      pendingBytes: 0,
      failed: 0,
    });
    await journal.close();
  });

  it("tells when the bus has taken all that was appended before, whatever comes after it", async () => {
    const bus = new FakeBus();
    const journal = await open(freshFolder(), bus, { publishEveryMs: 60_000, commitEveryMs: 60_000 });
    await journal.settled();
    void journal.append(event(0));
    const settled = journal.settled();
    void journal.append(event(1));
    await settled;
    expect(bus.taken.map(({ id }) => id)).toContain(event(0).id);
    const committing = journal.append(event(2));
    await Promise.resolve();
    await journal.settled();
    await committing;
    expect(bus.taken.map(({ id }) => id)).toContain(event(2).id);
    await journal.close();
    await expect(journal.settled()).rejects.toThrow("closed");
  });

  it("tells at once that the bus does not take it", async () => {
    const bus = new FakeBus();
    bus.away = true;
    const journal = await open(freshFolder(), bus);
    await journal.append(event(0));
    await expect(journal.settled()).rejects.toThrow("does not take");
    await expect(journal.settled()).rejects.toThrow("does not take");
    bus.away = false;
    await journal.drained();
    await journal.settled();
    await journal.close();
  });

  it("puts many appends into one commit", async () => {
    const journal = await open(freshFolder(), new FakeBus());
    await Promise.all(events(500).map((one) => journal.append(one)));
    expect(journal.stats()).toMatchObject({ appended: 500, commits: 1 });
    await journal.close();
  });

  it("gathers for longer where nobody waits, and a charge takes along what was gathered", async () => {
    const clock = new TestClock();
    const bus = new FakeBus();
    bus.away = true;
    const every = { commitEveryMs: 50, commitChargesEveryMs: 20 };
    const journal = await open(freshFolder(), bus, { clock, ...every });
    const charge = (id: string) => journal.append(chargeMade(facts(), JANUARY, aCharge({ id }), "info"));
    await journal.append(event(0)); // after a pause it waits for nothing
    const gathered = [journal.append(event(1))];
    clock.advance(19);
    gathered.push(charge("1"));
    clock.advance(1);
    await Promise.all(gathered);
    expect(journal.stats()).toMatchObject({ appended: 3, commits: 2 });

    const later = [journal.append(event(2))];
    clock.advance(49);
    later.push(journal.append(event(3)));
    clock.advance(1);
    await Promise.all(later);
    expect(journal.stats()).toMatchObject({ appended: 5, commits: 3 });

    clock.advance(20);
    await charge("2");
    expect(journal.stats()).toMatchObject({ appended: 6, commits: 4 });
    await journal.close();
  });

  it.each([-3_600_000, 3_600_000])("commits in its turn where the wall clock is set by %i ms", async (byMs) => {
    const clock = new TestClock();
    const journal = await open(freshFolder(), new FakeBus(), { clock, commitEveryMs: 50, publishEveryMs: 1_000 });
    await journal.append(event(0));
    clock.setWall(byMs);
    let done = false;
    const second = journal.append(event(1)).then(() => {
      done = true;
    });
    clock.advance(49);
    await new Promise(setImmediate);
    expect([done, journal.stats().commits]).toEqual([false, 1]);
    clock.advance(1);
    await second;
    expect(journal.stats().commits).toBe(2);
    await journal.close();
  });

  it("publishes few events soon, many in larger batches, and very many at once", async () => {
    const clock = new TestClock();
    const bus = new FakeBus();
    const journal = await open(freshFolder(), bus, { clock, publishEveryMs: 100, commitEveryMs: 0 });
    const append = (from: number, to: number) =>
      Promise.all(Array.from({ length: to - from }, (_, n) => journal.append(event(from + n))));
    await append(0, 5);
    clock.advance(99);
    expect(bus.attempts).toBe(0);
    clock.advance(1);
    await bus.has(5);
    await append(5, 105);
    clock.advance(249);
    expect(bus.attempts).toBe(1);
    clock.advance(1);
    await bus.has(105);
    await append(105, 205);
    clock.advance(10);
    await append(205, 1_300);
    clock.advance(0);
    await bus.has(205);
    await new Promise(setImmediate);
    clock.advance(0);
    await bus.has(1_300);
    expect(bus.taken.map(({ id }) => id)).toEqual(events(1_300).map(({ id }) => id));
    await journal.close();
  });

  it("keeps what the bus does not take, and publishes it in order when it does", async () => {
    const bus = new FakeBus();
    bus.away = true;
    const journal = await open(freshFolder(), bus);
    for (let n = 0; n < 10; n++) await journal.append(event(n));
    expect(journal.stats()).toMatchObject({ appended: 10, published: 0, pendingEvents: 10 });
    expect(bus.taken).toEqual([]);
    bus.away = false;
    await bus.has(10);
    await journal.drained();
    expect(bus.taken).toEqual(events(10));
    await journal.close();
  });

  it("publishes what is behind an event that the bus refuses, keeps that one on disk, and publishes it when the bus takes it", async () => {
    const path = freshFolder();
    const bus = new FakeBus();
    const publish = bus.publish.bind(bus);
    bus.publish = async (batch) => {
      await publish(batch.filter(({ id }) => id !== "s3:started"));
      if (batch.some(({ id }) => id === "s3:started")) throw new EventError("it is too large");
    };
    const journal = await open(path, bus, { publishEveryMs: 20 });
    for (const one of events(6)) await journal.append(one);
    await journal.drained();
    expect(new Set(bus.taken.map(({ id }) => id))).toEqual(new Set([0, 1, 2, 4, 5].map((n) => startedId(`s${n}`))));
    expect(journal.stats()).toMatchObject({ pendingEvents: 1 });
    await journal.append(event(6));
    await journal.drained();
    expect(bus.taken.at(-1)).toEqual(event(6));
    await journal.close();
    expect(await leftIn(path)).toEqual([event(3)]);
    expect(await leftIn(path)).toEqual([]);
  });

  it("publishes what was left when it is opened again, before anything new", async () => {
    const path = freshFolder();
    const away = new FakeBus();
    away.away = true;
    const first = await open(path, away);
    await Promise.all(events(5).map((one) => first.append(one)));
    await first.close();

    const second = await open(path, away); // twice: a start that published nothing loses nothing
    await second.append(event(5));
    await second.close();

    const bus = new FakeBus();
    const third = await open(path, bus);
    await third.append(event(6));
    await third.drained();
    expect(bus.taken).toEqual(events(7));
    await third.close();
  });

  it("forgets what the bus has taken", async () => {
    const path = freshFolder();
    const journal = await open(path, new FakeBus());
    await Promise.all(events(50).map((one) => journal.append(one)));
    await journal.drained();
    await journal.close();
    expect(await leftIn(path)).toEqual([]);
  });

  it("commits what was appended before it closes, and refuses what comes later", async () => {
    const path = freshFolder();
    const bus = new FakeBus();
    bus.away = true;
    const journal = await open(path, bus);
    const appended = events(20).map((one) => journal.append(one));
    await journal.close();
    await Promise.all(appended);
    await expect(journal.append(event(99))).rejects.toThrow("closed");
    expect(await leftIn(path)).toEqual(events(20));
  });

  it("waits for a publication under way when it closes", async () => {
    const path = freshFolder();
    const inside = deferred();
    const release = deferred();
    const bus = new FakeBus();
    bus.publish = () => {
      inside.resolve();
      return release.promise;
    };
    const journal = await open(path, bus);
    await journal.append(event(0));
    await inside.promise;
    const closing = journal.close();
    release.resolve();
    await closing;
    expect(await leftIn(path)).toEqual([]);
  });

  it("closes though the bus never answers, and publishes the same events at the next start", async () => {
    const path = freshFolder();
    const clock = new TestClock();
    const inside = deferred();
    const bus = new FakeBus();
    bus.publish = () => {
      inside.resolve();
      return new Promise(() => {});
    };
    const journal = await open(path, bus, { clock });
    await journal.append(event(0));
    clock.advance(1);
    await inside.promise;
    let closed = false;
    const closing = journal.close().then(() => {
      closed = true;
    });
    await new Promise(setImmediate);
    clock.advance(4_999);
    await new Promise(setImmediate);
    expect(closed).toBe(false);
    clock.advance(1);
    await closing;
    expect(clock.armed).toBe(0);
    expect(await leftIn(path)).toEqual([event(0)]);
  });

  it("publishes a backlog that is larger than what it keeps in memory, in batches", async () => {
    const path = freshFolder();
    const bus = new FakeBus();
    bus.away = true;
    const journal = await open(path, bus, { commitEveryMs: 0 });
    const many = events(24_000);
    for (let n = 0; n < many.length; n += 1000)
      await Promise.all(many.slice(n, n + 1000).map((one) => journal.append(one)));
    bus.away = false;
    await journal.drained();
    expect(bus.taken.map(({ id }) => id)).toEqual(many.map(({ id }) => id));
    expect(bus.batches).toBeGreaterThan(10);
    await journal.close();
  });

  it("overwrites nothing when two processes open one journal by mistake", async () => {
    const path = freshFolder();
    const bus = new FakeBus();
    bus.away = true;
    const [one, two] = [await open(path, bus), await open(path, bus)];
    await one.append(event(1));
    await two.append(event(2));
    await Promise.all([one.close(), two.close()]);
    expect((await leftIn(path)).map(({ id }) => id).sort()).toEqual(["s1:started", "s2:started"]);
  });
});

describe("the journal's bounds (decision 14)", () => {
  it("is full at four fifths, while it still takes what sessions under way need, and refuses what is beyond its bound", async () => {
    const bus = new FakeBus();
    bus.away = true;
    const size = JSON.stringify(event(100)).length + 2;
    const journal = await open(freshFolder(), bus, { maxBytes: size * 1_000 });
    let next = 0;
    const appendTo = async (count: number) => {
      for (; next < count; next += 10)
        await Promise.all(Array.from({ length: 10 }, (_, n) => journal.append(event(next + n))));
    };
    await appendTo(780);
    expect(journal.full).toBe(false);
    await appendTo(820);
    expect(journal.full).toBe(true);
    await appendTo(830);
    // What waits to be written counts for more than it takes, so that the bound holds whatever it is.
    const rest = await Promise.allSettled(Array.from({ length: 1_000 }, (_, n) => journal.append(event(n))));
    const refused = rest.filter(({ status }) => status === "rejected");
    expect(refused.length).toBeGreaterThan(900);
    expect(String((refused[0] as PromiseRejectedResult).reason)).toContain("the journal is full");
    expect(journal.stats()).toMatchObject({ pendingEvents: 1_830 - refused.length, failed: refused.length });
    expect(journal.stats().pendingBytes).toBeLessThanOrEqual(size * 1_000);
    bus.away = false;
    await bus.has(1_830 - refused.length);
    await journal.drained();
    expect(journal.full).toBe(false);
    await journal.append(event(9));
    await journal.close();
  });

  it("knows at its opening which sessions an earlier run left running, where it is asked to", async () => {
    const path = freshFolder();
    const bus = new FakeBus();
    const over = { trackRunning: true };
    const first = await open(path, bus, over);
    const part = facts({ id: "s9", hold: "h1", previous: { session: "s2", by: "change" } });
    await Promise.all([0, 1, 2].map((n) => first.append(event(n))));
    await Promise.all([
      first.append(sessionEnded(facts({ id: "s1" }), JANUARY, JANUARY + 5, "client")),
      first.append(sessionChanged(part, facts({ id: "s2" }), JANUARY, JANUARY + 7)),
    ]);
    expect(first.left).toEqual([]);
    await first.close();
    const second = await open(path, bus, over);
    expect(second.left).toEqual([
      { session: facts({ id: "s0" }), startedAt: JANUARY },
      { session: part, startedAt: JANUARY + 7 },
    ]);
    await second.append(sessionEnded(part, JANUARY, JANUARY + 8, "relay: stopped without warning"));
    await second.close();
    const third = await open(path, bus, over);
    expect(third.left.map(({ session }) => session.id)).toEqual(["s0"]);
    await third.drained();
    await third.close();
    expect(bus.taken).toHaveLength(6);
  });

  it("is full while the disk has less room than asked for", async () => {
    const journal = await open(freshFolder(), new FakeBus(), { minFreeDiskBytes: Number.MAX_SAFE_INTEGER });
    expect(journal.full).toBe(true);
    expect(journal.stats().freeDiskBytes).toBeGreaterThan(0);
    await journal.append(event(0)); // what is under way goes on
    await journal.close();
  });

  it("begins no write while the disk is nearly full, is full, and goes on once there is room", async () => {
    const path = freshFolder();
    let freeBytes = 10 ** 9;
    const disk = new LmdbDisk(path, () => freeBytes);
    const bus = new FakeBus();
    const journal = await open(path, bus, { disk });
    await journal.append(event(0));
    freeBytes = 10 ** 6;
    await expect(journal.append(event(1))).rejects.toThrow("make room on it");
    expect(journal.full).toBe(true);
    freeBytes = 10 ** 9;
    await journal.append(event(2));
    expect(journal.full).toBe(false);
    await journal.drained();
    expect(bus.taken.map(({ id }) => id)).toEqual([event(0).id, event(2).id]);
    await journal.close();
  });

  it("rejects where it cannot be opened", async () => {
    await expect(open("/dev/null/journal", new FakeBus())).rejects.toThrow();
  });
});

describe("the journal in a process that dies (P4)", () => {
  const child = new URL("journal-child.mjs", import.meta.url).pathname;
  let build: string;
  beforeAll(() => {
    build = compiled("src/charging/journal/journal.ts");
  }, 60_000);

  it.each([100, 700, 2000])(
    "has every event that it acknowledged, after kill -9 (%i events in)",
    async (lines) => {
      const path = freshFolder();
      const process = run([child, build, path, "away"]);
      await process.said(lines);
      await process.kill();
      const acknowledged = named(process.lines, "acknowledged");
      expect(acknowledged.length).toBeGreaterThanOrEqual(lines - 1);
      const found = (await leftIn(path)).map(({ id }) => id);
      expect(new Set(found).size).toBe(found.length);
      expect(acknowledged.filter((id) => !found.includes(id))).toEqual([]);
    },
    30_000,
  );

  it("loses nothing between journal and bus, after kill -9 twice on one journal", async () => {
    const path = freshFolder();
    const lines: string[] = [];
    for (let round = 0; round < 2; round++) {
      const process = run([child, build, path, "takes"]);
      await process.said(1500);
      await process.kill();
      lines.push(...process.lines);
    }
    const found = new Set([...(await leftIn(path)).map(({ id }) => id), ...named(lines, "published")]);
    const acknowledged = named(lines, "acknowledged");
    expect(acknowledged.length).toBeGreaterThan(200);
    expect(acknowledged.filter((id) => !found.has(id))).toEqual([]);
  }, 30_000);

  it("refuses when the disk is full, is full, and keeps what it acknowledged", async () => {
    const path = freshFolder();
    const process = run([child, build, path, "away", "3000"], { fileLimitKb: 300 });
    expect(await process.ended).toBe(0); // it goes on
    const acknowledged = named(process.lines, "acknowledged");
    expect(acknowledged.length).toBeGreaterThan(100);
    expect(named(process.lines, "refused").length).toBe(3000 - acknowledged.length);
    expect(process.lines.at(-1)).toBe("full true");
    expect((await leftIn(path)).map(({ id }) => id)).toEqual(acknowledged);
  }, 30_000);
});

describe("what is kept beside the events (decision 12)", () => {
  it("changes in the commit of the event that it belongs to, and is there at the next opening", async () => {
    const path = freshFolder();
    const journal = await open(path, new FakeBus());
    const asked: string[][] = [];
    const next: { puts: [string, string][]; removals: string[] }[] = [
      {
        puts: [
          ["s1", "one"],
          ["s2", "two"],
        ],
        removals: [],
      },
      { puts: [["s3", "ü".repeat(3_000)]], removals: ["s1"] },
    ];
    journal.accompany({
      changes: (group) => {
        asked.push(group.map(({ id }) => id));
        return next.shift();
      },
      failed: () => {},
    });
    await journal.append(event(1));
    expect([...journal.kept()]).toEqual([
      ["s1", "one"],
      ["s2", "two"],
    ]);
    await journal.append(event(2));
    await journal.close();
    expect(asked.slice(0, 2)).toEqual([["s1:started"], ["s2:started"]]);
    const again = await open(path, new FakeBus());
    expect([...again.kept()]).toEqual([
      ["s2", "two"],
      ["s3", "ü".repeat(3_000)],
    ]);
    await again.close();
  });

  it("is written soon where no event brings a commit along, and an event does not wait for that", async () => {
    const clock = new TestClock();
    const journal = await open(freshFolder(), new FakeBus(), { clock });
    let commits = 0;
    let wrote = deferred();
    journal.accompany({
      changes: () => {
        commits++;
        wrote.resolve();
        return { puts: [["s1", String(commits)]], removals: [] };
      },
      failed: () => {},
    });
    journal.keepSoon();
    journal.keepSoon();
    await new Promise((resolve) => setImmediate(resolve));
    expect(commits).toBe(0);
    clock.advance(60);
    await wrote.promise;
    wrote = deferred();
    while (journal.stats().commits === 0) await new Promise((resolve) => setImmediate(resolve));
    journal.keepSoon(); // a timer is armed; the event comes first, as soon as it may
    const appended = journal.append(event(1));
    clock.advance(50);
    await appended;
    expect(commits).toBe(2);
    await journal.close();
  });

  it("that could not be written is told, and asked for again", async () => {
    const path = freshFolder();
    let free = Number.MAX_SAFE_INTEGER;
    const journal = await open(path, new FakeBus(), { disk: new LmdbDisk(path, () => free) });
    const failed: unknown[] = [];
    const changes = { puts: [["s1", "one"]] as [string, string][], removals: ["s0"] };
    journal.accompany({ changes: () => changes, failed: (what) => void failed.push(what) });
    free = 0;
    await expect(journal.append(event(1))).rejects.toThrow(/left/);
    expect(failed).toEqual([changes]);
    expect([...journal.kept()]).toEqual([]);
    free = Number.MAX_SAFE_INTEGER;
    await journal.append(event(2));
    expect([...journal.kept()]).toEqual([["s1", "one"]]);
    await journal.close();
  });
});
