import { describe, expect, it } from "vitest";
import type { User } from "../../src/directory/types.ts";
import { UserLoads } from "../../src/relay/admission/user-loads.ts";
import type { SipResponse } from "../../src/sip/message.ts";
import { keptLog } from "../support/lines.ts";
import { establish, type Lab, lab } from "./harness.ts";

const status = (l: Lab) => (l.client.inbox.at(-1) as SipResponse | undefined)?.status;

describe("what one user may have at once (decision 14)", () => {
  it("is bounded in requests that ring: 503 with Retry-After, and no app server is asked", async () => {
    const { log, of } = keptLog();
    const l = await lab({ log, limits: { ringingPerUser: 3 } });
    const invites = Array.from({ length: 5 }, () => l.client.invite());
    const server = l.server("a");
    expect(server.inbox).toHaveLength(3);
    const refused = l.client.inbox as SipResponse[];
    expect(refused.map((response) => response.status)).toEqual([503, 503]);
    expect(refused[0]!.headers.get("retry-after")).toBe("5");
    expect(l.core.counters.overUserLimit).toBe(2);
    expect(of("a user has as much under way as one may")[0]).toMatchObject({ user: "alice" });
    // One that is given up makes room.
    server.inbox.length = 0;
    l.client.inbox.length = 0;
    l.client.cancel(invites[0]!);
    l.client.invite();
    expect(server.inbox.filter((message) => message.isRequest && message.method === "INVITE")).toHaveLength(1);
  });

  it("is 200 ringing calls never, by default", async () => {
    const l = await lab();
    for (let i = 0; i < 200; i++) l.client.invite();
    expect(l.core.requests.size).toBe(100);
  });

  it("is bounded in sessions, those that ring among them", async () => {
    const l = await lab({ limits: { sessionsPerUser: 2 } });
    const first = await establish(l);
    await establish(l);
    l.client.inbox.length = 0;
    l.client.invite();
    expect(status(l)).toBe(503);
    // A change within a session is none more.
    l.client.inDialog("INVITE", first.invite, first.answer, 2, { body: "v=0" });
    expect(l.server("a").request("INVITE").toTag).toBeDefined();
    l.client.inDialog("BYE", first.invite, first.answer, 3);
    const server = l.server("a");
    server.answer(server.request("BYE"), 200);
    await l.settle();
    l.client.inbox.length = 0;
    l.client.invite();
    expect(server.request("INVITE")).toBeDefined();
  });

  it("is bounded for one user by a limit of that user's own, whatever holds for all others", async () => {
    const alice: User = { id: "alice", realm: "portal.com", ha1: { sha256: "" }, limits: { sessions: 1 } };
    const users = [alice];
    const l = await lab({ users });
    await establish(l);
    l.client.inbox.length = 0;
    l.client.invite();
    expect(status(l)).toBe(503);
    users[0] = { ...alice, limits: { sessions: 2 } };
    await l.core.directory.reload();
    l.client.inbox.length = 0;
    l.server("a").inbox.length = 0;
    l.client.invite();
    expect(l.server("a").request("INVITE")).toBeDefined();
  });

  it("counts a session from its 200 on, whether or not the client acknowledges it", async () => {
    const l = await lab({ limits: { sessionsPerUser: 2 } });
    const server = l.server("a");
    for (let i = 0; i < 2; i++) {
      l.client.invite();
      server.answer(server.request("INVITE"), 200);
    }
    l.client.inbox.length = 0;
    l.client.invite();
    expect(status(l)).toBe(503);
  });

  it("is nobody else's: by way of a proxy it is 480, which speaks for one user and not for the relay", async () => {
    const l = await lab({ limits: { ringingPerUser: 1 } });
    l.client.invite();
    l.client.invite({ headers: [["Via", "SIP/2.0/UDP 198.51.100.7:5060;branch=z9hG4bKbelow"]] });
    expect(status(l)).toBe(480);
  });

  it("is forgotten when it is over", async () => {
    const l = await lab();
    const { invite, answer, server } = await establish(l);
    expect(l.core.loads.size).toBe(1);
    l.client.inDialog("BYE", invite, answer, 2);
    server.answer(server.request("BYE"), 200);
    await l.settle();
    l.clock.advance(64_000);
    expect(l.core.loads.size).toBe(0);
  });

  it("is not bounded by 0, nor where no source is", async () => {
    const loads = new UserLoads({ ringing: 0, sessions: 0 });
    for (let i = 0; i < 10_000; i++) loads.requestBegan("alice");
    for (let i = 0; i < 10_000; i++) loads.sessionBegan("alice");
    expect(loads.whyNot("alice")).toBeUndefined();
    const l = await lab({ limits: { perSourcePerSecond: 0 } });
    expect(l.core.config.limits).toMatchObject({ ringingPerUser: 0, sessionsPerUser: 0, perSessionPerSecond: 0 });
  });
});

describe("requests in a session", () => {
  it("are so many in a second from each side: 500 with Retry-After to more, and it can still be ended", async () => {
    const l = await lab({ limits: { perSessionPerSecond: 5 } });
    const { invite, answer, server } = await establish(l);
    for (let i = 0; i < 20; i++) l.client.inDialog("INFO", invite, answer, 2 + i);
    expect(server.inbox).toHaveLength(5);
    const refused = l.client.inbox as SipResponse[];
    expect(refused.map((response) => response.status)).toEqual(Array(15).fill(500));
    expect(l.core.counters.overSessionRate).toBe(15);
    l.client.inbox.length = 0;
    server.inbox.length = 0;
    l.client.inDialog("BYE", invite, answer, 30);
    server.request("BYE");
  });

  it("count anew each second", async () => {
    const l = await lab({ limits: { perSessionPerSecond: 5 } });
    const { invite, answer, server } = await establish(l);
    for (let second = 0; second < 3; second++) {
      for (let i = 0; i < 5; i++) l.client.inDialog("INFO", invite, answer, 2 + 5 * second + i);
      l.clock.advance(1_000);
    }
    expect(l.core.counters.overSessionRate).toBe(0);
    expect(new Set(server.inbox.map((message) => message.cseq?.number)).size).toBe(15);
  });
});
