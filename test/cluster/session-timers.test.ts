import { afterEach, describe, expect, it } from "vitest";
import type { SipMessage, SipRequest } from "../../src/sip/message.ts";
import type { Peer } from "../relay/harness.ts";
import { agrees, type Call, Nodes, statuses } from "./nodes.ts";

/* Session timers (RFC 4028) of sessions whose node is gone: both legs' timers go on where the session goes on (P3). */

type Headers = [string, string][];
const ALLOWS: [string, string] = ["Allow", "INVITE, ACK, BYE, CANCEL, UPDATE"];
const CAN: [string, string] = ["Supported", "timer"];
const expires = (value: string): [string, string] => ["Session-Expires", value];
const se = (message: SipMessage) => message.headers.get("session-expires");

let nodes: Nodes;
afterEach(() => nodes.close());

/** A peer that agrees to each refresh with these header fields. Returns its refreshes, and when they came. */
function refreshed(peer: Peer, headers: Headers, status = 200) {
  const came: { at: number; request: SipRequest }[] = [];
  const { inbox } = peer;
  const push = inbox.push.bind(inbox);
  inbox.push = (...messages) => {
    for (const message of messages) {
      const isRefresh = message.isRequest && (message.method === "UPDATE" || message.method === "INVITE");
      if (!isRefresh) push(message);
      else {
        came.push({ at: nodes.clock.monotonic(), request: message });
        const is405 = status === 405 && message.method === "UPDATE";
        void Promise.resolve().then(() =>
          is405
            ? peer.answer(message, 405)
            : peer.answer(message, 200, { headers: [["Contact", peer.contact], ...headers] }),
        );
      }
    }
    return inbox.length;
  };
  return came;
}

/** A session with these timers, whose node dies `afterS` seconds later. */
async function taken(client: Headers, server: Headers, afterS: number, probeS = 0): Promise<Call> {
  nodes = await Nodes.of(2, { session: { probeS } });
  const call = await nodes.established({ inviteHeaders: client, answerHeaders: server });
  await nodes.run(afterS * 1_000);
  nodes.kill("node00");
  nodes.target = "node01";
  return call;
}

const bye = (peer: Peer) => peer.inbox.find((message) => message.isRequest && message.method === "BYE");

describe("a session with timers that another node has taken up (P3, RFC 4028)", () => {
  it("is told anew of its interval and who refreshes, and refreshed there by the relay at half of it", async () => {
    const call = await taken([], [ALLOWS, expires("1000;refresher=uac"), ["Require", "timer"]], 100);
    agrees(nodes.client);
    const updates = refreshed(nodes.server, [expires("1000;refresher=uac")]);
    await nodes.run(2_000);
    expect(updates.map(({ request }) => se(request))).toEqual(["1000;refresher=uac"]);
    await nodes.run(1_001_000);
    expect(updates.length).toBe(3); // told once, and refreshed each 500 s
    expect(updates[2]!.at - updates[1]!.at).toBeGreaterThanOrEqual(500_000);
    expect(updates[2]!.at - updates[1]!.at).toBeLessThan(500_100);
    const cseqs = updates.map(({ request }) => request.cseq!.number);
    expect(cseqs).toEqual([...cseqs].sort((a, b) => a - b));
    expect(nodes.actors(call.id)).toEqual(["node01"]);
  });

  it("is refreshed in time where the peer has no UPDATE: by re-INVITE with what it was told last", async () => {
    const call = await taken([], [["Allow", "INVITE, ACK, BYE"], expires("1000;refresher=uac")], 400);
    agrees(nodes.client);
    const came = refreshed(nodes.server, [expires("1000;refresher=uac")], 405);
    const began = nodes.clock.monotonic();
    await nodes.run(102_000);
    const [told, refresh, ...more] = came;
    expect([told!.request.method, refresh!.request.method, more.length]).toEqual(["UPDATE", "INVITE", 0]);
    expect(String(refresh!.request.body)).toBe("v=0");
    expect(refresh!.request.headers.get("contact")).toContain(nodes.hostOf("node01"));
    expect(refresh!.at - began).toBeLessThan(101_000);
    expect(statuses(nodes.server)).toEqual(["ACK"]);
    expect(nodes.actors(call.id)).toEqual(["node01"]);
  });

  it("goes on by the refreshes of the end that refreshes: they count at the new node", async () => {
    const call = await taken([CAN, expires("600;refresher=uac")], [], 100);
    agrees(nodes.server);
    const told = refreshed(nodes.client, [expires("600;refresher=uas"), ["Require", "timer"]]);
    for (let seq = 2; seq < 6; seq++) {
      await nodes.run(300_000);
      nodes.client.inDialog("UPDATE", call.invite, call.answer, seq, { headers: [CAN, expires("600;refresher=uac")] });
      await nodes.run(50);
      expect(se(nodes.client.response(200))).toBe("600;refresher=uac");
    }
    expect(told.map(({ request }) => se(request))).toEqual(["600;refresher=uas"]); // our Contact, not a refresh of ours
    expect(nodes.actors(call.id)).toEqual(["node01"]);
    await nodes.run(569_000);
    expect(bye(nodes.client)?.headers.get("reason")).toContain("client is gone");
  });

  it("ends there if it is not refreshed: by BYE to both, once, paid until the client was heard of last", async () => {
    const call = await taken([CAN, ["Allow", "INVITE, ACK, BYE"], expires("600;refresher=uac")], [], 100);
    agrees(nodes.client, ["UPDATE"], 405);
    agrees(nodes.server, ["UPDATE", "BYE"]);
    await nodes.run(460_000);
    expect(bye(nodes.client)).toBeUndefined();
    await nodes.run(10_000);
    nodes.client.answer(bye(nodes.client) as SipRequest, 200);
    await nodes.run(1_000);
    const ends = nodes.ended(call.id) as { durationMs?: number; endedBy?: string }[];
    expect(ends.map(({ endedBy }) => endedBy)).toEqual(["relay: client is gone: its session timer ran out"]);
    expect(ends[0]!.durationMs).toBeGreaterThan(100_000); // its answer to the new node
    expect(ends[0]!.durationMs).toBeLessThan(101_000);
  });

  it("takes a refresh that was on its way when the node died", async () => {
    const call = await taken([CAN, expires("600;refresher=uac")], [], 560);
    agrees(nodes.server);
    refreshed(nodes.client, [expires("600;refresher=uas")]);
    const refresh = () =>
      nodes.client.inDialog("UPDATE", call.invite, call.answer, 2, {
        headers: [CAN, expires("600;refresher=uac")],
      });
    refresh();
    await nodes.run(2_000);
    expect(se(nodes.client.response(200))).toBe("600;refresher=uac");
    await nodes.run(500_000);
    expect(nodes.actors(call.id)).toEqual(["node01"]);
  });

  it("keeps to the peer's Min-SE where that refuses the interval with which it is told (422, §7.3)", async () => {
    const call = await taken([], [ALLOWS, expires("1000;refresher=uac")], 100);
    agrees(nodes.client);
    await nodes.run(1_000);
    const first = nodes.server.request("UPDATE");
    nodes.server.inbox.length = 0;
    nodes.server.answer(first, 422, { headers: [["Min-SE", "2000"]] });
    await nodes.run(100);
    const again = nodes.server.request("UPDATE");
    expect([se(again), again.headers.get("min-se")]).toEqual(["2000;refresher=uac", "2000"]);
    expect(again.headers.get("contact")).toContain(nodes.hostOf("node01"));
    nodes.server.answer(again, 200, { headers: [expires("2000;refresher=uac"), ["Contact", nodes.server.contact]] });
    await nodes.run(999_000);
    expect(statuses(nodes.server)).toEqual([]);
    await nodes.run(2_000);
    expect(statuses(nodes.server)).toContain("UPDATE");
    expect(nodes.actors(call.id)).toEqual(["node01"]);
  });
});
