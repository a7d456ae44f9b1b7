import { describe, expect, it } from "vitest";
import { HealthChecks } from "../../src/node/health.ts";
import type { SipRequest } from "../../src/sip/message.ts";
import { keptLog } from "../support/lines.ts";
import { establish, type Lab, type LabOptions, lab } from "./harness.ts";

const REST: [string, string][] = [["Retry-After", "30"]];
const TWO: LabOptions = {
  servers: [
    { id: "a", priority: 1 },
    { id: "b", priority: 2 },
  ],
};

/** The client asks; the app server answers with that. */
function refused(l: Lab, server: string, status: number, headers: [string, string][] = []) {
  const invite = l.client.invite();
  const peer = l.server(server);
  peer.answer(peer.request("INVITE"), status, { headers });
  peer.request("ACK");
  return invite;
}

/** Which app server is asked first now; nobody: what the client hears. */
function asksNow(l: Lab): string {
  const peers = [l.client, ...["a", "b"].flatMap((id) => (l.core.directory.appServer(id) ? [l.server(id)] : []))];
  for (const peer of peers) peer.inbox.length = 0;
  const invite = l.client.invite();
  const asked = ["a", "b"].find((id) => l.core.directory.appServer(id) && l.server(id).inbox.length > 0);
  if (asked === undefined) {
    const final = l.client.inbox.shift()!;
    return final.isRequest ? final.method : `${final.status} ${final.headers.get("retry-after")}`;
  }
  l.client.cancel(invite);
  l.client.inbox.length = 0;
  const at = l.server(asked).request("INVITE");
  l.server(asked).answer(at, 487);
  l.server(asked).inbox.length = l.client.inbox.length = 0;
  return asked;
}

describe("one app server's 503 is not the relay's (RFC 3261 §16.7 step 6, §21.5.4)", () => {
  it("reaches the client as 500, with its words and body, and without its Retry-After", async () => {
    const l = await lab();
    l.client.invite();
    const at = l.server("a").request("INVITE");
    const answer = {
      headers: [...REST, ["Subject", "closed"]] as [string, string][],
      body: "see you",
      type: "text/plain",
    };
    l.server("a").answer(at, 503, answer);
    const final = l.client.response(500);
    expect(final.reason).toBe("Server Internal Error");
    expect(final.headers.has("retry-after")).toBe(false);
    expect([final.headers.get("subject"), final.body.toString()]).toEqual(["closed", "see you"]);
  });

  for (const fork of ["sequential", "first", "all"] as const) {
    it(`reaches the client as 500 where all say so, asked ${fork}`, async () => {
      const l = await lab({ ...TWO, service: { fork } });
      l.client.invite();
      for (const id of ["a", "b"]) l.server(id).answer(l.server(id).request("INVITE"), 503, { headers: REST });
      expect(l.client.response(500).headers.has("retry-after")).toBe(false);
      // Both rest.
      expect(asksNow(l)).toBe("480 30");
    });
  }

  it.each([404, 413, 480, 486, 500, 504, 600, 603])(
    "leaves a %i as it is, with its Retry-After, and nobody rests",
    async (status) => {
      const l = await lab();
      refused(l, "a", status, REST);
      expect(l.client.response(status).headers.get("retry-after")).toBe("30");
      expect(asksNow(l)).toBe("a");
    },
  );

  it("is no 503 of the relay's in a session either: re-INVITE, UPDATE, INFO, OPTIONS, of either end", async () => {
    const l = await lab();
    const { invite, answer, server, inviteAtServer, answerOfServer } = await establish(l);
    let seq = 1;
    for (const method of ["INVITE", "UPDATE", "INFO", "OPTIONS", "MESSAGE"]) {
      l.client.inDialog(method, invite, answer, ++seq);
      server.answer(server.request(method), 503, { headers: REST });
      const toClient = l.client.response(500);
      server.backInDialog(method, inviteAtServer, answerOfServer, seq);
      server.inbox.length = method === "INVITE" ? 0 : server.inbox.length; // the ACK of its 503
      l.client.answer(l.client.request(method), 503, { headers: REST });
      const toServer = server.response(500);
      for (const response of [toClient, toServer]) expect(response.headers.has("retry-after")).toBe(false);
      l.client.inbox.length = server.inbox.length = 0;
    }
    expect(l.core.sessions.size).toBe(1);
  });

  it("is no 503 of the relay's where one end of a session cannot be reached (RFC 3261 §16.9)", async () => {
    const l = await lab();
    const { invite, answer, server } = await establish(l);
    for (const method of ["INFO", "UPDATE"]) {
      l.client.inDialog(method, invite, answer, method === "INFO" ? 2 : 3);
      server.request(method);
      l.transactions.flowFailed(server.flow, "port unreachable");
      l.client.response(500);
    }
  });

  it("is none in a move: the report says 500, and the first session goes on (M23)", async () => {
    const l = await lab({ servers: [{ id: "a" }, { id: "b", services: ["beer"] }], more: [{ id: "beer" }] });
    const { invite, answer } = await establish(l);
    l.client.inDialog("REFER", invite, answer, 2, { headers: [["Refer-To", "<sip:beer@portal.com>"]] });
    l.client.response(200);
    l.client.answer(l.client.request("NOTIFY"), 200);
    l.server("b").answer(l.server("b").request("INVITE"), 503, { headers: REST });
    expect(l.client.request("NOTIFY").body.toString()).toMatch(/^SIP\/2.0 500 /);
    expect(l.core.directory.restsForMs("b")).toBe(30_000);
  });

  it("is none in a change of service (M20, M21)", async () => {
    const l = await lab({ servers: [{ id: "a" }, { id: "b", services: ["beer"] }], more: [{ id: "beer" }] });
    const { invite, answer } = await establish(l);
    const beer = { body: '<service name="beer"/>', type: "application/vnd.tollgate.service+xml" };
    const again = l.client.inDialog("INVITE", invite, answer, 2, beer);
    l.server("b").answer(l.server("b").request("INVITE"), 503, { headers: REST });
    l.client.ack(again, l.client.response(500));
    l.server("b").request("ACK");
    l.client.inDialog("INVITE", invite, answer, 3, beer);
    expect(l.client.response(480).headers.get("retry-after")).toBe("30");
    expect(l.server("b").inbox).toEqual([]);
  });
});

describe("an app server that answers 503 with Retry-After (RFC 3261 §21.5.4)", () => {
  it("is not asked until then; the next by priority is", async () => {
    const l = await lab(TWO);
    const invite = l.client.invite();
    l.server("a").answer(l.server("a").request("INVITE"), 503, { headers: REST });
    l.server("a").request("ACK");
    const at = l.server("b").request("INVITE");
    l.server("b").answer(at, 486);
    l.server("b").request("ACK");
    l.client.ack(invite, l.client.response(486));
    expect(asksNow(l)).toBe("b");
    l.clock.advance(29_999);
    expect(asksNow(l)).toBe("b");
    l.clock.advance(1);
    expect(asksNow(l)).toBe("a");
  });

  it("is said to the client as 480 where nobody else offers the service, with what is left of the time (§21.4.18)", async () => {
    const l = await lab();
    refused(l, "a", 503, REST);
    l.client.response(500);
    l.clock.advance(10_500);
    expect(asksNow(l)).toBe("480 20");
  });

  it.each([
    ["18", 18_000],
    ["120 (I'm in a meeting)", 120_000],
    ["120;duration=60", 120_000],
    [" 7 ;duration=60", 7_000],
    ["0", 0],
    ["-5", 0],
    ["soon", 0],
    ["5 apples", 0],
    ["3600", 300_000], // health.maxRestS
    ["99999999999999999999999", 300_000],
  ])("rests for what %j says, 5 minutes at most", async (text, forMs) => {
    const l = await lab();
    refused(l, "a", 503, [["Retry-After", text]]);
    l.client.response(500);
    expect(l.core.directory.restsForMs("a")).toBe(forMs);
  });

  it("does not rest without Retry-After, nor where the operator says so", async () => {
    const l = await lab();
    refused(l, "a", 503);
    l.client.response(500);
    expect(asksNow(l)).toBe("a");
    const never = await lab({ config: { health: { intervalS: 0, maxRestS: 0 } } });
    refused(never, "a", 503, REST);
    never.client.response(500);
    expect(asksNow(never)).toBe("a");
  });

  it("rests no shorter because another answer says less", async () => {
    const l = await lab({ service: { fork: "sequential" } });
    const [one, two] = [l.client.invite(), l.client.invite()];
    expect(one.callId).not.toBe(two.callId);
    const [first, second] = [l.server("a").request("INVITE"), l.server("a").request("INVITE")];
    l.server("a").answer(first, 503, { headers: REST });
    l.server("a").answer(second, 503, { headers: [["Retry-After", "5"]] });
    expect(l.core.directory.restsForMs("a")).toBe(30_000);
  });

  it.each(["INVITE", "UPDATE", "INFO"])(
    "rests after a 503 to %s in a session, which goes on, and ends by BYE",
    async (method) => {
      const l = await lab();
      const { invite, answer, server } = await establish(l);
      l.client.inDialog(method, invite, answer, 2);
      server.answer(server.request(method), 503, { headers: REST });
      l.client.inbox.length = server.inbox.length = 0;
      expect(asksNow(l)).toBe("480 30");
      l.client.inDialog("BYE", invite, answer, 3);
      server.answer(server.request("BYE"), 200);
      await l.settle();
      l.client.response(200);
    },
  );

  it("rests after a 503 to a probe and to BYE", async () => {
    const l = await lab({ session: { probeS: 60 } });
    const { invite, answer, server } = await establish(l);
    l.clock.advance(60_000);
    l.client.answer(l.client.request("OPTIONS"), 200);
    server.answer(server.request("OPTIONS"), 503, { headers: REST });
    expect(l.core.directory.restsForMs("a")).toBe(30_000);
    l.client.inDialog("BYE", invite, answer, 2);
    server.answer(server.request("BYE"), 503, { headers: [["Retry-After", "40"]] });
    expect(l.core.directory.restsForMs("a")).toBe(40_000);
    await l.settle();
  });

  it("does not rest because of what a client answers", async () => {
    const l = await lab();
    const { server, inviteAtServer, answerOfServer } = await establish(l);
    server.backInDialog("UPDATE", inviteAtServer, answerOfServer, 1);
    l.client.answer(l.client.request("UPDATE"), 503, { headers: REST });
    server.response(500);
    expect(l.core.directory.resting).toBe(0);
  });

  it("is not asked for another service in its own session, and others are, while it rests (M21)", async () => {
    const l = await lab({
      servers: [
        { id: "a", services: ["service1", "beer"] },
        { id: "b", services: ["beer"], priority: 99 },
      ],
      more: [{ id: "beer" }],
    });
    const { invite, answer, server } = await establish(l);
    l.client.inDialog("INFO", invite, answer, 2);
    server.answer(server.request("INFO"), 503, { headers: REST });
    l.client.response(500);
    const beer = { body: '<service name="beer"/>', type: "application/vnd.tollgate.service+xml" };
    l.client.inDialog("INVITE", invite, answer, 3, beer);
    l.server("b").request("INVITE");
    expect(server.inbox).toEqual([]);
  });

  it("is asked at once where it has another address: that is another machine", async () => {
    const l = await lab();
    refused(l, "a", 503, REST);
    const [server] = l.core.config.appServers;
    await l.core.directory.reload({ ...l.core.config, appServers: [{ ...server!, uri: "sip:192.0.2.177" }] });
    expect(l.core.directory.restsForMs("a")).toBe(0);
  });

  it("can be seen: a line, a count, a gauge", async () => {
    const { log, of } = keptLog();
    const l = await lab({ log });
    refused(l, "a", 503, [["Retry-After", "3600"]]);
    expect(of("an app server answered 503: it rests")).toEqual([{ appServer: "a", forS: 300, askedS: 3600 }]);
    expect(l.core.counters.appServerRests).toBe(1);
    expect(l.core.directory.resting).toBe(1);
    l.clock.advance(300_000);
    expect(l.core.directory.resting).toBe(0);
  });
});

describe("an app server that answers the relay's OPTIONS with 503 (health)", () => {
  const checked = async (headers: [string, string][]) => {
    const l = await lab({ config: { health: { intervalS: 10, failures: 2 } } });
    const health = new HealthChecks(l.core);
    health.start();
    const server = l.server("a");
    const answer = () => server.answer(server.request("OPTIONS") as SipRequest, 503, { headers });
    return { l, server, answer, health };
  };

  it("rests for its Retry-After, and is not even asked whether it is there", async () => {
    const { l, server, answer, health } = await checked(REST);
    answer();
    expect(asksNow(l)).toBe("480 30");
    l.clock.advance(29_000);
    expect(server.inbox).toEqual([]);
    l.clock.advance(1_000);
    server.answer(server.request("OPTIONS"), 200);
    expect(asksNow(l)).toBe("a");
    health.stop();
  });

  it("is down after two without; the client hears 480, since other services can be had (§21.4.18)", async () => {
    const { l, answer, health } = await checked([]);
    answer();
    l.clock.advance(10_000);
    answer();
    expect(asksNow(l)).toBe("480 10");
    health.stop();
  });
});
