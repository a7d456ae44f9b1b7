import { describe, expect, it } from "vitest";
import { HealthChecks } from "../../src/node/health.ts";
import type { Core } from "../../src/relay/model/core.ts";
import type { Destination } from "../../src/transport/types.ts";
import { type LabOptions, lab, type Peer } from "./harness.ts";

const [FIRST, SECOND, THIRD] = ["192.0.2.131", "192.0.2.132", "192.0.2.133"];

/** An app server behind one name with three addresses (RFC 3263 §4). */
async function several(options: LabOptions = {}) {
  const at = (address: string): Destination => ({ transport: "udp", address, port: 5060 });
  const resolve: LabOptions["core"] = {
    resolve: (uri, found) => found(uri.host === "shop.example" ? [FIRST, SECOND, THIRD].map(at) : [at(uri.host)]),
  };
  const l = await lab({ servers: [{ uri: "sip:shop.example" }], ...options, core: resolve });
  const [first, second, third] = [FIRST, SECOND, THIRD].map((address) => l.peer(address, 5060)) as [Peer, Peer, Peer];
  return { l, first, second, third };
}

describe("an app server with several addresses (RFC 3263 §4.3)", () => {
  it("is asked at the next one, in a new transaction, where the first answers 503", async () => {
    const { l, first, second } = await several();
    l.client.invite();
    const one = first.request("INVITE");
    first.answer(one, 503, { headers: [["Retry-After", "60"]] });
    first.request("ACK");
    const two = second.request("INVITE");
    expect(two.via?.params.get("branch")).not.toBe(one.via?.params.get("branch"));
    for (const name of ["call-id", "from", "to", "cseq", "tollgate-session"])
      expect(two.headers.get(name)).toBe(one.headers.get(name));
    second.answer(two, 200);
    l.client.response(200);
    expect(l.core.directory.restsForMs("a")).toBe(0); // one of its addresses has no room; it has
  });

  it("is asked at the next one where the first is silent, and at no further one once it has rung", async () => {
    const { l, first, second, third } = await several();
    l.client.invite();
    first.request("INVITE");
    l.clock.advance(8_000);
    l.client.response(100);
    const two = second.request("INVITE");
    second.answer(two, 180);
    l.client.response(180);
    second.answer(two, 503);
    expect(third.inbox).toEqual([]);
    l.client.response(500);
  });

  it("refuses what it refuses: no other address is asked after any other answer", async () => {
    const { l, first, second } = await several();
    l.client.invite();
    first.answer(first.request("INVITE"), 486);
    l.client.response(486);
    expect(second.inbox).toEqual([]);
  });

  it("is given up where none of them answers", async () => {
    const { l, first, second, third } = await several();
    l.client.invite();
    for (const peer of [first, second, third]) {
      peer.request("INVITE");
      l.clock.advance(8_000);
    }
    l.client.response(100);
    l.client.response(408);
  });

  it("is asked no further where the client has given up", async () => {
    const { l, first, second } = await several();
    const invite = l.client.invite();
    first.request("INVITE");
    l.client.cancel(invite);
    l.client.response(200);
    l.clock.advance(40_000);
    expect(second.inbox).toEqual([]);
    l.client.response(487);
  });

  it("answers late at the first one: that dialog is ended, and the session is with the second", async () => {
    const { l, first, second } = await several();
    l.client.invite();
    const one = first.request("INVITE");
    l.clock.advance(8_000);
    l.client.response(100);
    second.answer(second.request("INVITE"), 200);
    l.client.response(200);
    first.inbox.length = 0;
    first.answer(one, 200);
    expect(first.inbox.map((message) => (message.isRequest ? message.method : message.status))).toContain("BYE");
    expect(l.core.sessions.size).toBe(1);
  });

  it("is up as long as one of them answers OPTIONS", async () => {
    const { l, first, second } = await several({ config: { health: { intervalS: 10 } } });
    const health = new HealthChecks(l.core);
    health.start();
    first.answer(first.request("OPTIONS"), 503, { headers: [["Retry-After", "60"]] });
    second.answer(second.request("OPTIONS"), 200);
    expect(l.core.directory.restsForMs("a")).toBe(0);
    health.stop();
  });
});

describe("a request within a dialog whose peer has several addresses (RFC 3263 §4.3)", () => {
  /** The app server's Contact is its name; the INVITE went to the first address. */
  async function established(options: LabOptions = {}) {
    const { l, first, second, third } = await several(options);
    const invite = l.client.invite();
    first.contact = "<sip:shop.example>";
    first.answer(first.request("INVITE"), 200);
    const answer = l.client.response(200);
    l.client.ack(invite, answer);
    first.request("ACK");
    await l.settle();
    for (const peer of [first, second, third, l.client]) peer.inbox.length = 0;
    const send = (method: string, seq: number) => l.client.send(l.client.inDialog(method, invite, answer, seq));
    return { l, first, second, third, send };
  }

  it("goes to the next one where the first answers 503, and what follows goes there, too", async () => {
    const { l, first, second, send } = await established();
    send("INFO", 2);
    const one = first.request("INFO");
    first.answer(one, 503);
    const two = second.request("INFO");
    expect(two.via?.params.get("branch")).not.toBe(one.via?.params.get("branch"));
    expect(two.headers.count("via")).toBe(1);
    for (const name of ["call-id", "from", "to", "cseq"]) expect(two.headers.get(name)).toBe(one.headers.get(name));
    second.answer(two, 200);
    expect(l.client.response(200).cseq?.method).toBe("INFO");
    send("BYE", 3);
    second.answer(second.request("BYE"), 200);
    await l.settle();
    l.client.response(200);
    expect(first.inbox).toEqual([]);
    expect(l.core.sessions.size).toBe(0);
  });

  it("goes to the next one where the first is silent", async () => {
    const { l, first, second, send } = await established({ config: { session: { probeS: 0 } } });
    send("BYE", 2);
    first.request("BYE");
    l.clock.advance(32_000);
    second.answer(second.request("BYE"), 200);
    await l.settle();
    expect(l.core.sessions.size).toBe(0);
  });

  it("is tried once at each, and then is what the last one said; the next request begins anew", async () => {
    const { l, first, second, third, send } = await established();
    send("INFO", 2);
    for (const peer of [first, second, third]) peer.answer(peer.request("INFO"), 503);
    l.client.response(500); // 503 is the relay's own word
    send("INFO", 3);
    first.answer(first.request("INFO"), 200);
    l.client.response(200);
    expect([second, third].flatMap(({ inbox }) => inbox)).toEqual([]);
  });

  it("goes to no other one after any other answer, or once somebody has answered for a while", async () => {
    const { l, first, second, send } = await established();
    send("INFO", 2);
    first.answer(first.request("INFO"), 486);
    l.client.response(486);
    send("INVITE", 3);
    const again = first.request("INVITE");
    first.answer(again, 180);
    first.answer(again, 503);
    expect(second.inbox).toEqual([]);
  });
});

describe("an app server whose name is still being resolved", () => {
  it("hears nothing of a call that the client cancels meanwhile", async () => {
    let found: () => void = () => {};
    const resolve: Core["resolve"] = (_uri, tell) => {
      found = () => tell([{ transport: "udp", address: "192.0.2.100", port: 5060 }]);
    };
    const l = await lab({ core: { resolve } });
    const invite = l.client.invite();
    l.client.cancel(invite);
    expect(l.client.inbox.map((one) => (one.isRequest ? one.method : one.status)).sort()).toEqual([200, 487]);
    found();
    expect(l.server("a").inbox).toEqual([]);
    l.client.ack(invite, l.client.inbox.at(-1) as never);
    l.clock.advance(70_000);
    expect(l.core.sessions.size).toBe(0);
  });
});
