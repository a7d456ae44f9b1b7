import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { CallRecord } from "../../src/calls/record.ts";
import { openEmbeddedStore } from "../../src/store/embedded.ts";
import { call, pageOf } from "../contract/calls.contract.ts";
import { Terminal } from "./terminal.ts";

let terminal: Terminal;
beforeEach(() => {
  terminal = new Terminal();
});
afterEach(() => terminal.remove());

const tollgate = (...argv: string[]) => terminal.tollgate(argv);

const failed = call(2, {
  status: 500,
  reason: "Server Internal Error",
  endedBy: "server",
  answerMs: 20,
  asked: [
    { appServer: "shop", session: "s2", callId: "s2@tollgate", atMs: 5, why: "it was not reached: tcp ECONNREFUSED" },
  ],
});

async function stored(...records: CallRecord[]): Promise<void> {
  const store = await openEmbeddedStore(join(terminal.folder, "data", "store"));
  const isStranger = ({ user }: CallRecord) => user === undefined;
  const users = records.filter((record) => !isStranger(record));
  if (users.length > 0) await store.calls.add(pageOf(users));
  const strangers = records.filter(isStranger);
  if (strangers.length > 0) await store.calls.add(pageOf(strangers, "strangers"));
  await store.close();
}

describe("tollgate calls, while no relay runs (P5)", () => {
  it("lists what became of requests, from the store", async () => {
    await stored(call(1, { cost: "25.20 EUR" }), failed);
    const { code, out } = await tollgate("calls");
    expect(code).toBe(0);
    expect(out).toContain("25.20 EUR");
    expect(out).toContain("shop: it was not reached: tcp ECONNREFUSED");
    expect((await tollgate("calls", "--failed")).out.trim().split("\n")).toHaveLength(2);
    expect((await tollgate("calls", "--since", "10m")).out).toBe("no calls\n");
    expect(JSON.parse((await tollgate("calls", "--call-id", "s2@tollgate", "--json")).out)).toEqual([
      { ...failed, failed: true },
    ]);
    expect((await tollgate("calls", "--user", "bob")).out).toBe("no calls\n");
  });

  it("shows one call: by its reference, its session or its Call-ID", async () => {
    await stored(call(1), failed);
    for (const id of ["record0002", "s2", "call-2@client", "s2@tollgate"]) {
      const { code, out } = await tollgate("call", id);
      expect(code).toBe(0);
      expect(out).toContain("INVITE of alice");
      expect(out).toMatch(/20 ms ! relay -> client +500 Server Internal Error/);
    }
    expect(await tollgate("call", "nothing")).toMatchObject({ code: 1 });
  });

  it("says so where there is no data folder, which may be another than the relay's", async () => {
    const { code, out, err } = await tollgate("calls");
    expect({ code, out }).toEqual({ code: 0, out: "no calls\n" });
    expect(err).toMatch(/^there was no data folder .*data: if a relay has another one, name .* --config\n$/);
    expect((await tollgate("calls")).err).toBe("");
  });

  it("finds a call by its Call-ID also where its sender did not get past the sign-in", async () => {
    const { user: _, ...stranger } = call(3, { status: 401, reason: "Unauthorized", why: "sign-in: wrong password" });
    await stored(call(1), stranger);
    const byCallId = await tollgate("calls", "--call-id", stranger.callId);
    expect(byCallId.out).toContain("sign-in: wrong password");
    expect((await tollgate("calls", "--call-id", "call-1@client")).out).toContain("alice");
    expect((await tollgate("calls")).out).not.toContain("wrong password");
  });

  it.each([
    [["calls", "--since", "yesterday"], "--since: expected 30s"],
    [["calls", "--most", "many"], "--most: expected a number"],
  ])("refuses %j with exit code 2", async (argv, why) => {
    const { code, err } = await tollgate(...argv);
    expect(code).toBe(2);
    expect(err).toContain(why);
  });
});
