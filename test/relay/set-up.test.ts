import { describe, expect, it } from "vitest";
import { endSetUp, readSetUpState, setUpState } from "../../src/relay/leg/set-up.ts";
import { keptLog } from "../support/lines.ts";
import { lab } from "./harness.ts";

/** A call that rings, as another node has it. */
async function ringing(): Promise<string> {
  const l = await lab();
  l.client.invite();
  const server = l.server("a");
  server.answer(server.request("INVITE"), 180);
  const [session] = l.core.sessions.values();
  return JSON.stringify(setUpState(session!));
}

/** Another node, which ends such calls. */
async function other() {
  const { log, of } = keptLog();
  const l = await lab({ log });
  const end = (text: string, refused = new Set<string>()) => {
    const read = readSetUpState(text);
    if (!read.ok) throw new Error(read.error);
    endSetUp(l.core, read.value, refused);
    return refused;
  };
  return { of, end };
}

describe("a call that rang when its node died (P3, P5)", () => {
  it("is on record at the node that ends it: who asked for what, and why it ended", async () => {
    const { of, end } = await other();
    const text = await ringing();
    const { record } = JSON.parse(text);
    end(text);
    const [line, ...more] = of("call failed");
    expect(more).toEqual([]);
    expect(line).toMatchObject({
      record: record.id,
      callId: record.callId,
      user: "alice",
      service: "service1",
      status: 503,
      endedBy: "relay",
      why: "its node died while it was set up",
    });
    expect(JSON.stringify(line)).toContain("a: the node that asked it died");
  });

  it("has one record, however many app servers rang", async () => {
    const { of, end } = await other();
    const text = await ringing();
    end(text, end(text));
    expect(of("call failed")).toHaveLength(1);
  });

  it("is ended also as an older relay has told it, and what a hostile one tells breaks no line of the log", async () => {
    const { of, end } = await other();
    const { record, ...older } = JSON.parse(await ringing());
    end(JSON.stringify(older));
    expect(of("call failed")).toEqual([]);
    const hostile = { ...record, user: 'a"\n{"level":"fatal"}', uri: "\u0000\u2028" };
    end(JSON.stringify({ ...older, call: "another", record: hostile }));
    expect(String(of("call failed")[0]!.user)).not.toMatch(/["\n]/);
    for (const broken of [{ ...record, at: "x" }, { ...record, asked: [{}] }, { ...record, method: "BYE" }, 7])
      expect(readSetUpState(JSON.stringify({ ...older, record: broken })).ok).toBe(false);
  });
});
