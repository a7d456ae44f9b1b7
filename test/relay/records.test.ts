import { Writable } from "node:stream";
import { describe, expect, it } from "vitest";
import type { CallRecord } from "../../src/calls/record.ts";
import type { SipResponse } from "../../src/sip/message.ts";
import { createLogger } from "../../src/support/logger.ts";
import { MemoryCalls } from "../calls/memory-calls.ts";
import { digestAnswer } from "../support/digest-answer.ts";
import { establish, type Lab, type LabOptions, lab } from "./harness.ts";

/** A lab whose records and log lines can be read. */
async function recorded(options: LabOptions = {}) {
  const store = new MemoryCalls();
  const lines: Record<string, unknown>[] = [];
  const to = new Writable({
    write(chunk, _encoding, done) {
      for (const line of String(chunk).trim().split("\n")) lines.push(JSON.parse(line));
      done();
    },
  });
  const log = createLogger({ level: "info", pretty: false, to: to as never });
  const l = await lab({ log, ...options, core: { recordsTo: { store }, ...options.core } });
  const read = async (): Promise<CallRecord[]> => {
    l.clock.advance(250);
    await l.settle();
    l.clock.advance(1_100);
    await l.settle();
    return store.records;
  };
  return { l, store, lines, read };
}

const hangUp = async (l: Lab, { invite, answer, server }: Awaited<ReturnType<typeof establish>>) => {
  l.client.inDialog("BYE", invite, answer, 2);
  server.answer(server.request("BYE"), 200);
  await l.settle();
  l.client.response(200);
};

describe("a request leaves a record that says why (P5)", () => {
  it("a call to an app server that cannot be reached", async () => {
    const { l, lines, read } = await recorded();
    const invite = l.client.invite();
    const [session] = l.core.sessions.values();
    const { invitation } = session as unknown as { invitation: { transportError(reason: string): void } };
    invitation.transportError("connect ECONNREFUSED 192.0.2.100:5060");
    const refusal = l.client.response(500);
    const [record] = await read();
    expect(record).toMatchObject({
      kind: "invite",
      callId: invite.callId,
      user: "alice",
      uri: "sip:service1@portal.com",
      source: "udp/192.0.2.50:5062",
      service: "service1",
      status: 500,
      endedBy: "server",
      asked: [
        {
          appServer: "a",
          session: session!.id,
          callId: `${session!.id}@tollgate`,
          why: "it was not reached: connect ECONNREFUSED 192.0.2.100:5060",
        },
      ],
    });
    expect(refusal.headers.get("warning")).toBe(`399 tollgate "reference ${record!.id}"`);
    const [line, ...more] = lines.filter(({ record: id }) => id === record!.id);
    expect(more).toEqual([]);
    expect(line).toMatchObject({
      level: "info",
      msg: "call failed",
      callId: invite.callId,
      session: session!.id,
      user: "alice",
      status: 500,
      asked: "a: it was not reached: connect ECONNREFUSED 192.0.2.100:5060",
    });
  });

  it("a call that was answered, with its durations and its cost, once it is over", async () => {
    const { l, lines, store, read } = await recorded();
    const invite = l.client.invite({ body: "v=0" });
    const server = l.server("a");
    const at = server.request("INVITE");
    l.clock.advance(300);
    l.client.response(100);
    server.answer(at, 180);
    l.client.response(180);
    l.clock.advance(700);
    server.answer(at, 200);
    const answer = l.client.response(200);
    l.client.ack(invite, answer);
    server.request("ACK");
    await l.settle();
    expect(await read()).toEqual([]);
    l.clock.advance(60_000 - 1_350);
    await hangUp(l, { invite, answer, server } as never);
    const [running, record, ...more] = await read();
    expect(more).toEqual([]);
    expect(running).toMatchObject({ id: record!.id, running: true, status: 200 });
    expect(record).toMatchObject({
      status: 200,
      ringMs: 300,
      answerMs: 1_000,
      wholeMs: 61_000,
      endedBy: "client",
      cost: "0.10 EUR",
      asked: [{ appServer: "a", status: 200, answerMs: 1_000, clockMs: 60_000, cost: "0.10 EUR" }],
    });
    expect(lines.filter(({ msg }) => msg === "call ended")).toHaveLength(1);
    expect(store.records).toHaveLength(2);
  });

  it("a cancelled call: the client gave it up", async () => {
    const { l, read } = await recorded();
    const invite = l.client.invite();
    const server = l.server("a");
    const at = server.request("INVITE");
    server.answer(at, 180);
    l.client.response(180);
    l.client.cancel(invite);
    l.client.response(200);
    server.answer(server.request("CANCEL"), 200);
    server.answer(at, 487);
    const cancelled = l.client.response(487);
    const [record] = await read();
    expect(record).toMatchObject({ status: 487, endedBy: "client", asked: [{ why: "cancelled" }] });
    expect(cancelled.headers.has("warning")).toBe(false);
  });

  it("an app server's refusal after another one's, with what each said", async () => {
    const { l, read } = await recorded({ servers: [{ priority: 2 }, { priority: 1 }] });
    l.client.invite();
    const first = l.server("a");
    const second = l.server("b");
    const [one, other] = first.inbox.length > 0 ? [first, second] : [second, first];
    one.answer(one.request("INVITE"), 503);
    one.request("ACK");
    other.answer(other.request("INVITE"), 486);
    const heard = l.client.response(486);
    const [record] = await read();
    expect(record!.asked!.map(({ status }) => status)).toEqual([503, 486]);
    expect(record).toMatchObject({ status: 486, endedBy: "server" });
    expect(heard.headers.has("warning")).toBe(false); // the app server's own words
  });

  it("a call refused by a rule, by the rule's name", async () => {
    // biome-ignore lint/suspicious/noThenProperty: a rule has `when` and `then`
    const rules = [{ name: "nobody", when: {}, then: { reject: 403 } }];
    const { l, read } = await recorded({ config: { portal: { domain: "portal.com" }, rules } });
    l.client.invite();
    l.client.response(403);
    const [record] = await read();
    expect(record).toMatchObject({ status: 403, rule: "nobody", endedBy: "relay", user: "alice" });
  });

  it("a call over the user's limit, and why it was one too many", async () => {
    const { l, read } = await recorded({ limits: { ringingPerUser: 1 } as never });
    l.client.invite();
    l.client.invite();
    l.client.response(503);
    const [record] = await read();
    expect(record).toMatchObject({ status: 503, why: "1 requests of this user wait for an answer" });
  });

  it("a re-INVITE that is passed on, and one that is refused", async () => {
    const { l, read } = await recorded();
    const call = await establish(l);
    const { server, invite, answer } = call;
    l.client.inDialog("INVITE", invite, answer, 2, { body: "v=2" });
    server.answer(server.request("INVITE"), 488);
    l.client.response(488);
    const [record] = (await read()).filter(({ kind }) => kind === "change");
    expect(record).toMatchObject({
      kind: "change",
      method: "INVITE",
      user: "alice",
      status: 488,
      callId: invite.callId,
      within: { session: call.inviteAtServer.callId.replace("@tollgate", ""), appServer: "a" },
    });
  });

  it("a change of service that the app server wants: one record, with what the new part cost", async () => {
    const { l, lines, read } = await recorded({
      more: [{ id: "service2" }],
      servers: [{ services: ["service1", "service2"] }],
    });
    const { server, invite, answer, inviteAtServer, answerOfServer } = await establish(l);
    const body = '<service name="service2"/>';
    const type = "application/vnd.tollgate.service+xml";
    server.backInDialog("UPDATE", inviteAtServer, answerOfServer, 1, { body, type });
    await l.settle();
    const update = l.client.request("UPDATE");
    l.client.answer(update, 200);
    await l.settle();
    server.response(200);
    expect((await read()).map(({ endedBy }) => endedBy)).toEqual(["change"]);
    l.client.inDialog("BYE", invite, answer, 2);
    server.answer(server.request("BYE"), 200);
    await l.settle();
    await read();
    const ended = lines.filter(({ msg }) => msg === "call ended");
    expect(ended.map(({ method, endedBy }) => [method, endedBy])).toEqual([
      ["INVITE", "change"],
      ["UPDATE", "client"],
    ]);
    expect(l.core.calls.open).toBe(0);
  });

  it("a session that was restored: one record, of which another process wrote the beginning", async () => {
    const { l, store, read } = await recorded();
    const call = await establish(l);
    l.clock.advance(6_000);
    await l.settle();
    await read();
    const [begun] = store.records;
    expect(begun).toMatchObject({ running: true, callId: call.invite.callId });
    const { snapshot, restore, goOn } = await import("../../src/relay/session/snapshot.ts");
    const [session] = l.core.sessions.values();
    const state = JSON.parse(JSON.stringify(snapshot(session!)));
    session!.release();
    const again = restore(l.core, state);
    goOn(again, state);
    l.client.inbox.length = 0;
    call.server.inbox.length = 0;
    await hangUp(l, call);
    await read();
    const found = await l.core.calls.find({ callId: call.invite.callId, most: 10 }, []);
    expect(found).toHaveLength(1);
    expect(found[0]).toMatchObject({
      id: begun!.id,
      at: begun!.at,
      source: begun!.source,
      endedBy: "client",
      cost: "0.10 EUR",
    });
    expect(found[0]!.running).toBeUndefined();
  });

  it("texts of peers are cut, and cannot look like something else", async () => {
    const { l, lines, read } = await recorded();
    l.client.invite({ uri: `sip:service1:secret@portal.com;x=${"y".repeat(500)}` });
    const server = l.server("a");
    server.answer(server.request("INVITE"), 486);
    l.client.response(486);
    const [record] = await read();
    expect(record!.uri.length).toBeLessThanOrEqual(200);
    expect(JSON.stringify([record, lines])).not.toContain("secret");
  });
});

describe("every line of the log about a call", () => {
  it("carries call, Call-ID, session and user", async () => {
    const { l, lines } = await recorded({ limits: { perSessionPerSecond: 2 } as never });
    const { invite, answer, server } = await establish(l, { answerHeaders: [["X-A", "b"]] });
    const [session] = l.core.sessions.values();
    for (let i = 2; i < 9; i++) l.client.inDialog("MESSAGE", invite, answer, i);
    const late = l.client.invite();
    const [, second] = l.core.sessions.values();
    l.clock.advance(9_000);
    session!.actor.fault(new Error("a mistake of ours"));
    const about = { call: session!.facts.call, callId: invite.callId, session: session!.id, user: "alice" };
    const others = { call: second!.facts.call, callId: late.callId, session: second!.id, user: "alice" };
    expect(lines.find(({ msg }) => msg === "too many requests in a session")).toMatchObject(about);
    expect(lines.find(({ msg }) => msg === "session failed by a fault of the relay")).toMatchObject(about);
    expect(lines.find(({ msg }) => msg === "app server given up")).toMatchObject(others);
    expect(server).toBeDefined();
  });
});

describe("a user who has shown the password and is refused all the same (P5)", () => {
  /** Credentials of alice, for the challenge to her INVITE. */
  const credentials = (challenge: SipResponse): [string, string] => [
    "Authorization",
    digestAnswer({
      ...{ challenge: challenge.headers.get("www-authenticate")!, method: "INVITE", uri: "sip:service1@portal.com" },
      ...{ user: "alice", realm: "portal.com", password: "secret", algorithm: "md5" },
    }),
  ];

  it("is no stranger: the record has the user, and the answer the reference", async () => {
    const { l, store, read } = await recorded({ signIn: true });
    l.client.invite();
    const headers = [credentials(l.client.response(401))];
    l.client.invite({ headers, from: "<sip:bob@portal.com>" });
    const refusal = l.client.response(403);
    const [record] = await read();
    const why = "sign-in: From is not the user alice of this portal who signed in";
    expect(record).toMatchObject({ user: "alice", status: 403, why, endedBy: "relay" });
    expect(refusal.headers.get("warning")).toBe(`399 tollgate "reference ${record!.id}"`);
    expect(store.pages_.map(({ ring }) => ring)).toEqual(["users"]);
  });

  it("with a wrong password it stays a stranger's, without a reference", async () => {
    const { l, store, read } = await recorded({ signIn: true });
    l.client.invite();
    const [name, value] = credentials(l.client.response(401));
    l.client.invite({ headers: [[name, value.replace(/response="./, 'response="x')]] });
    expect(l.client.response(401).headers.has("warning")).toBe(false);
    await read();
    expect(store.records[0]).not.toHaveProperty("user");
    expect(store.pages_.map(({ ring }) => ring)).toEqual(["strangers"]);
  });
});

describe("strangers", () => {
  it("whose sign-in is refused leave few lines and few records, apart from those of users", async () => {
    const { l, lines, store, read } = await recorded({ signIn: true });
    for (let i = 0; i < 500; i++)
      l.client.invite({ headers: [["Authorization", 'Digest username="bob", realm="portal.com", nonce="x"']] });
    await read();
    expect(store.records.length).toBeLessThanOrEqual(10);
    expect(lines.filter(({ msg }) => msg === "a stranger's request was refused").length).toBeLessThanOrEqual(10);
  });

  it("whose request no session knows leave a record of their own ring", async () => {
    const { l, store, read } = await recorded();
    l.client.within(
      "INVITE",
      "<sip:eve@portal.com>;tag=1",
      "<sip:x@portal.com>;tag=2",
      "nowhere",
      "sip:x@portal.com",
      1,
      {},
    );
    l.client.response(481);
    await read();
    expect(store.pages_.map(({ ring }) => ring)).toEqual(["strangers"]);
    expect(store.records[0]).toMatchObject({ status: 481, callId: "nowhere", kind: "change" });
    expect(await l.core.calls.find({ most: 10, strangers: false }, [])).toEqual([]);
    expect(await l.core.calls.find({ most: 10, strangers: true }, [])).toHaveLength(1);
  });
});

describe("a store that is away", () => {
  it("delays no answer, and gets the records when it is back", async () => {
    const { l, store, read } = await recorded();
    store.broken = true;
    await hangUp(l, await establish(l));
    expect(await read()).toEqual([]);
    store.broken = false;
    l.clock.advance(1_100);
    await l.settle();
    expect(store.records).toHaveLength(1);
  });
});
