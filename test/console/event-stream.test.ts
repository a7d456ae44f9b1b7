import { request } from "node:http";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { EventStreams } from "../../src/console/event-stream.ts";
import type { Seen } from "../../src/trace/seen.ts";
import type { Story } from "../../src/trace/story.ts";
import type { Viewer } from "../../src/trace/watching.ts";
import { TestClock } from "../support/test-clock.ts";
import { ApiLab } from "./api-lab.ts";

const story = { record: { name: "r1", user: "alice", service: "wine", call: "c1", ofCallId: "x@client" } } as Story;
const moved = (n: number): Seen => ({
  ...{ kind: "state", at: n, chart: "session", actor: "a", event: `e${n}` },
  ...{ from: "inviting", to: "established" },
});

interface Event {
  readonly id: string | undefined;
  readonly event: string | undefined;
  readonly data: Record<string, unknown>;
}

const eventsIn = (text: string): Event[] =>
  text.split("\n\n").flatMap((one) => {
    const field = (name: string) => new RegExp(`^${name}: (.*)$`, "m").exec(one)?.[1];
    const data = field("data");
    return data === undefined ? [] : [{ id: field("id"), event: field("event"), data: JSON.parse(data) }];
  });

let clock: TestClock;
let viewers: Set<Viewer>;
let streams: EventStreams;
let ids: number;
beforeEach(() => {
  clock = new TestClock();
  viewers = new Set();
  ids = 0;
  streams = new EventStreams({
    watch: (viewer) => {
      viewers.add(viewer);
      return () => void viewers.delete(viewer);
    },
    clock,
    newId: () => `s${++ids}`,
  });
});

const all = { filter: {}, full: false };
const happens = (n: number) => {
  for (const viewer of viewers) viewer.see(story, moved(n));
};

/** Reads what is there by now. */
async function readNow(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<string> {
  let text = "";
  for (;;) {
    const nothing = new Promise<undefined>((resolve) => setImmediate(() => resolve(undefined)));
    const read = reader.read();
    const piece = await Promise.race([read, nothing]);
    if (!piece || piece.done) {
      if (!piece) leftover.set(reader, read);
      return text;
    }
    text += new TextDecoder().decode(piece.value);
  }
}
const leftover = new Map<unknown, Promise<{ readonly value?: Uint8Array | undefined }>>();

describe("a stream of events (P5)", () => {
  it("says that it is ready, and then what happens, with everything that a page needs", async () => {
    const reader = streams.open(all, "ann", undefined)!.getReader();
    happens(1);
    const events = eventsIn(await readNow(reader));
    expect(events.map(({ event }) => event)).toEqual(["ready", "state"]);
    expect(events[1]).toMatchObject({
      id: "s1-1",
      data: {
        ...{ kind: "state", at: 1, call: "r1", user: "alice", service: "wine", callId: "x@client" },
        ...{ chart: "session", event: "e1", from: "inviting", to: "established" },
      },
    });
  });

  it("goes on after the last line that was read, if it is taken up in time", async () => {
    const first = streams.open(all, "ann", undefined)!.getReader();
    for (let n = 1; n <= 3; n++) happens(n);
    await readNow(first);
    await first.cancel();
    for (let n = 4; n <= 5; n++) happens(n);
    const again = eventsIn(await readNow(streams.open(all, "ann", "s1-2")!.getReader()));
    expect(again.filter(({ event }) => event === "state").map(({ id }) => id)).toEqual(["s1-3", "s1-4", "s1-5"]);
    expect(again.map(({ event }) => event)).not.toContain("gap");
  });

  it("says how many lines are gone for good", async () => {
    const first = streams.open(all, "ann", undefined)!.getReader();
    happens(1);
    await readNow(first);
    await first.cancel();
    for (let n = 2; n <= 2_101; n++) happens(n);
    const again = eventsIn(await readNow(streams.open(all, "ann", "s1-1")!.getReader()));
    expect(again.find(({ event }) => event === "gap")!.data).toMatchObject({ missed: 100 });
    expect(again.filter(({ event }) => event === "state")).toHaveLength(2_000);
  });

  it("is forgotten after half a minute without a reader, and nobody looks any more", async () => {
    const first = streams.open(all, "ann", undefined)!.getReader();
    await first.cancel();
    expect(viewers.size).toBe(1);
    await clock.advance(30_000);
    expect(viewers.size).toBe(0);
    const again = eventsIn(await readNow(streams.open(all, "ann", "s1-1")!.getReader()));
    expect(again.map(({ event }) => event)).toEqual(["ready", "gap"]);
  });

  it("is nobody else's, and of no other calls", async () => {
    await streams.open(all, "ann", undefined)!.cancel();
    for (const [query, whose] of [
      [all, "bob"],
      [{ filter: { user: "alice" }, full: false }, "ann"],
      [{ filter: {}, full: true }, "ann"],
    ] as const)
      expect(eventsIn(await readNow(streams.open(query, whose, "s1-0")!.getReader())).at(-1)!.event).toBe("gap");
  });

  it("drops who reads too slowly, says so, and can be taken up again", async () => {
    const slow = streams.open(all, "ann", undefined)!.getReader();
    for (let n = 1; n <= 3_500; n++) happens(n);
    const events = eventsIn(await readNow(slow));
    expect(events.at(-1)!.event).toBe("dropped");
    const last = events.filter(({ event }) => event === "state").at(-1)!.id!;
    const again = eventsIn(await readNow(streams.open(all, "ann", last)!.getReader()));
    expect(again.at(-1)!.id).toBe("s1-3500");
    expect(again.map(({ event }) => event)).not.toContain("gap");
  });

  it("is one of sixteen at most; those without a reader give way", async () => {
    const open = Array.from({ length: 16 }, () => streams.open(all, "ann", undefined)!);
    expect(open.every((one) => one !== undefined)).toBe(true);
    expect(streams.open(all, "ann", undefined)).toBeUndefined();
    await open[3]!.cancel();
    expect(streams.open(all, "ann", undefined)).toBeDefined();
    expect(viewers.size).toBe(16);
  });

  it("is kept open by comments", async () => {
    const reader = streams.open(all, "ann", undefined)!.getReader();
    await readNow(reader);
    await clock.advance(15_000);
    const piece = await leftover.get(reader)!;
    expect(new TextDecoder().decode(piece.value)).toBe(": \n\n");
  });
});

describe("GET /v1/events", () => {
  let lab: ApiLab;
  beforeEach(async () => {
    lab = await ApiLab.create();
  });
  afterEach(() => lab.close());

  it("streams to whoever may look, and notes who looked (P5)", async () => {
    const token = await lab.token("viewer");
    const text = await new Promise<string>((resolve, reject) => {
      const headers = { authorization: `Bearer ${token}` };
      const outgoing = request({ port: lab.port, path: "/v1/events?user=alice", headers, agent: false }, (response) => {
        let said = "";
        response.setEncoding("utf8").on("data", (piece: string) => {
          said += piece;
          if (said.includes("ready") && !said.includes("state"))
            for (const viewer of lab.viewers) viewer.see(story, moved(1));
          if (!said.includes("established")) return;
          outgoing.destroy();
          resolve(`${response.headers["content-type"]} ${said}`);
        });
      });
      outgoing.on("error", reject).end();
    });
    expect(text).toMatch(/^text\/event-stream /);
    const { entries } = await lab.store.audit.page({ most: 10 });
    expect(entries[0]).toMatchObject({ who: "a-viewer", what: "watchCalls", kind: "read", of: { user: "alice" } });
  });

  it("refuses what it does not know", async () => {
    expect((await lab.ask("GET", "/v1/events?color=red")).status).toBe(422);
    expect((await lab.ask("POST", "/v1/events")).status).toBe(405);
  });
});
