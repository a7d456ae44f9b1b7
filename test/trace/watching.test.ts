import { describe, expect, it } from "vitest";
import type { OpenRecord } from "../../src/calls/open-record.ts";
import type { CallRecord } from "../../src/calls/record.ts";
import type { Seen, SeenMessage, SeenState } from "../../src/trace/seen.ts";
import { Traces } from "../../src/trace/traces.ts";
import { defaultBounds, Watching } from "../../src/trace/watching.ts";
import { openRequest } from "./open-request.ts";

const request = (callId: string): OpenRecord => openRequest(`record-of-${callId}`, callId);

const message = (callId: string, text = "INVITE", bytes = 100): SeenMessage => ({
  kind: "message",
  at: 0,
  direction: "in",
  local: { transport: "udp", address: "192.0.2.1", port: 5060 },
  peer: { transport: "udp", address: "192.0.2.9", port: 1 },
  leg: "client",
  callId,
  bytes: Buffer.from(text.padEnd(bytes)),
});

const seenBy = (watching: Watching, filter: object) => {
  const seen: string[] = [];
  const note = (item: Seen) =>
    void seen.push(item.kind === "message" ? `${item.callId} ${String(item.bytes).trim()}` : item.kind);
  watching.watch({ filter, see: (_, item) => note(item), seeStranger: note });
  return seen;
};

describe("a call that a trace has recorded (P5)", () => {
  it("is whole there, also after others have taken its place among those that have ended", () => {
    const bounds = { ...defaultBounds, ended: { stories: 1, bytes: 1_000_000 } };
    const watching = new Watching(bounds);
    const traces = new Traces((viewer) => watching.watch(viewer));
    expect(traces.start({ name: "t", filter: { callId: "a" }, most: 10 }, 0)).toBeUndefined();
    for (const callId of ["a", "b"]) {
      const record = request(callId);
      record.signedIn("alice");
      watching.known(record);
      for (const text of ["INVITE", "200", "BYE"]) watching.message(message(callId, text), record);
      watching.ended(record, { id: record.name, at: 0, wholeMs: 9 } as CallRecord);
    }
    expect(watching.storyNamed("record-of-a")).toBeUndefined();
    const texts = traces
      .storyOf("record-of-a")
      ?.items.map((item) => (item.kind === "message" ? String(item.bytes).trim() : item.kind));
    expect(texts).toEqual(["INVITE", "200", "BYE", "end"]);
    expect(traces.storyOf("record-of-b")).toBeUndefined();
    traces.stop("t", false);
    expect(traces.storyOf("record-of-a")?.items).toHaveLength(4);
  });
});

describe("watching (P5)", () => {
  it("shows a call from its first message on, once it is known who calls", () => {
    const watching = new Watching();
    const seen = seenBy(watching, { user: "alice" });
    const record = request("a");
    watching.message(message("a", "INVITE"), undefined);
    watching.message(message("a", "401"), undefined);
    expect(seen).toEqual([]);
    record.signedIn("alice");
    watching.known(record);
    expect(seen).toEqual(["a INVITE", "a 401"]);
    watching.happened(record, { kind: "timer", at: 0, session: "s", name: "silent" });
    expect(seen.at(-1)).toBe("timer");
  });

  it("shows at once what there is of the one call that is meant, and of others when something happens in them", () => {
    const watching = new Watching();
    for (const callId of ["a", "b"]) {
      const record = request(callId);
      record.signedIn("alice");
      watching.known(record);
      watching.message(message(callId), record);
    }
    expect(seenBy(watching, { callId: "a" })).toEqual(["a INVITE"]);
    expect(seenBy(watching, { user: "alice" })).toEqual([]);
  });

  it("shows only what is meant: by user, by service, by Call-ID", () => {
    const watching = new Watching();
    const [bySomebody, byService, byCallId] = [{ user: "bob" }, { service: "wine" }, { callId: "b" }].map((filter) =>
      seenBy(watching, filter),
    );
    for (const callId of ["a", "b"]) {
      const record = request(callId);
      watching.message(message(callId), undefined);
      record.signedIn("alice");
      watching.known(record);
      record.asksFor(callId === "a" ? "wine" : "beer", undefined);
      watching.message(message(callId, "180"), record);
    }
    expect(bySomebody).toEqual([]);
    expect(byService).toEqual(["a INVITE", "a 180"]);
    expect(byCallId).toEqual(["b INVITE", "b INVITE", "b 180"]); // once as a stranger's
  });

  it("strangers push out nothing of a call that runs", () => {
    const watching = new Watching();
    const record = request("a");
    watching.message(message("a"), undefined);
    record.signedIn("alice");
    watching.known(record);
    for (let i = 0; i < 5_000; i++) watching.message(message(`flood-${i}`, "INVITE", 2_000), undefined);
    expect(watching.storyFor(record)!.items).toHaveLength(1);
    expect(watching.size).toBe(1);
  });

  it("keeps a bounded part of a long call: its beginning, and the newest", () => {
    const watching = new Watching();
    const record = request("a");
    record.signedIn("alice");
    watching.known(record);
    for (let i = 0; i < 10_000; i++) watching.message(message("a", `INFO ${i}`, 500), record);
    const { items, leftOut } = watching.storyFor(record)!;
    expect(items.length).toBeLessThanOrEqual(200);
    expect(String((items[0] as SeenMessage).bytes).trim()).toBe("INFO 0");
    expect(String((items.at(-1) as SeenMessage).bytes).trim()).toBe("INFO 9999");
    expect(leftOut + items.length).toBe(10_000);
  });

  it("forgets the oldest calls where all of them together are too much", () => {
    const watching = new Watching({ ...defaultBounds, bytes: 10_000 });
    const records = Array.from({ length: 100 }, (_, i) => request(`call-${i}`));
    for (const record of records) {
      record.signedIn("alice");
      watching.known(record);
      watching.message(message(record.ofCallId, "INVITE", 1_000), record);
    }
    expect(watching.size).toBeLessThan(10);
    expect(watching.storyFor(records[99]!)).toBeDefined();
  });
});

describe("traces (P5)", () => {
  const call = (watching: Watching, callId: string, user: string) => {
    const record = request(callId);
    watching.message(message(callId), undefined);
    record.signedIn(user);
    watching.known(record);
    return record;
  };

  it("hold the calls that fit, as many as are wanted, until they are stopped", () => {
    const watching = new Watching();
    const traces = new Traces((viewer) => watching.watch(viewer));
    const sent: Buffer[] = [];
    expect(
      traces.start({ name: "t", filter: { user: "alice" }, most: 2, send: (packet) => void sent.push(packet) }, 0),
    ).toBeUndefined();
    expect(traces.start({ name: "t", filter: {}, most: 2 }, 0)).toContain("runs already");
    for (const [callId, user] of [
      ["a", "alice"],
      ["b", "bob"],
      ["c", "alice"],
      ["d", "alice"],
    ] as const)
      call(watching, callId, user);
    expect(traces.calls("t")!.map(({ id }) => id)).toEqual(["record-of-a", "record-of-c"]);
    expect(traces.list()).toMatchObject([{ name: "t", calls: 2, running: true, full: true }]);
    expect(sent).toHaveLength(2);
    expect(traces.stop("t", false)).toBe(true);
    expect(watching.isWatched).toBe(false);
    expect(traces.calls("t")).toHaveLength(2);
    expect(traces.stop("t", true)).toBe(true);
    expect(traces.calls("t")).toBeUndefined();
  });

  it("of a sample hold one call in so many", () => {
    const watching = new Watching();
    const traces = new Traces((viewer) => watching.watch(viewer));
    traces.start({ name: "t", filter: { sample: 10 }, most: 100 }, 0);
    for (let i = 0; i < 100; i++) call(watching, `call-${i}`, "alice");
    expect(traces.calls("t")).toHaveLength(10);
  });

  describe("of calls that are over (P5)", () => {
    const ended = (watching: Watching, callId: string) => {
      const record = request(callId);
      record.signedIn("alice");
      watching.known(record);
      watching.message(message(callId, "INVITE"), record);
      watching.happened(record, { kind: "charge", at: 1, session: `s-${callId}`, type: "session.started", text: "" });
      watching.ended(record, { id: record.id, at: 0, wholeMs: 5 } as CallRecord);
    };
    const moved = (session: string): SeenState => {
      return {
        kind: "state",
        at: 9,
        chart: "billing",
        actor: session,
        event: "session.ended",
        from: "running",
        to: "closed",
      };
    };

    it("still has the messages, and what billing does after the end", () => {
      const watching = new Watching();
      ended(watching, "a");
      watching.happenedTo("s-a", moved("s-a"));
      watching.happenedTo("s-unknown", moved("s-unknown"));
      const { items = [] } = watching.storyNamed("record-of-a") ?? {};
      expect(items.map(({ kind }) => kind)).toEqual(["message", "charge", "end", "state"]);
      expect(watching.size).toBe(0);
    });

    it("has so many of them and so many bytes, and the oldest give way", () => {
      const by = (bounds: { stories: number; bytes: number }) => {
        const watching = new Watching({ ...defaultBounds, ended: bounds });
        for (const callId of ["a", "b", "c"]) ended(watching, callId);
        return ["a", "b", "c"].filter((callId) => watching.storyNamed(`record-of-${callId}`) !== undefined);
      };
      expect(by({ stories: 2, bytes: 1_000_000 })).toEqual(["b", "c"]);
      expect(by({ stories: 9, bytes: 800 })).toEqual(["c"]);
      expect(by({ stories: 9, bytes: 1_000_000 })).toEqual(["a", "b", "c"]);
    });

    it("shows a viewer of a call that runs what billing does of it", () => {
      const watching = new Watching();
      const seen: string[] = [];
      watching.watch({ filter: {}, see: (_, item) => void seen.push(item.kind) });
      const record = request("a");
      record.signedIn("alice");
      watching.happened(record, { kind: "charge", at: 1, session: "s", type: "session.started", text: "" });
      watching.happenedTo("s", moved("s"));
      expect(seen).toEqual(["charge", "state"]);
    });
  });
});
