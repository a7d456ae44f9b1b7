// biome-ignore-all lint/suspicious/noThenProperty: a rule says when and then
import { describe, expect, it } from "vitest";
import type { SipRequest } from "../../src/sip/message.ts";
import { responseTo } from "../../src/sip/response.ts";
import { establish, type Lab, lab } from "./harness.ts";

/*
 * From was checked when the user signed in. Within a dialog only its tag says anything (RFC 3261 §12.2.2): its URI is
 * whatever its sender writes.
 */

const BOSS = '"The boss" <sip:boss@portal.com>';
const TYPE = "application/vnd.tollgate.service+xml";
const wanting = (service: string) => ({ type: TYPE, body: `<service name="${service}"/>` });

/** `vip` is the boss's alone, by From. */
const rules = [
  { name: "vip", when: { from: "sip:boss@.*", body: { "service.@name": "vip" } }, then: { service: "vip" } },
  { name: "no vip", when: { body: { "service.@name": "vip" } }, then: { reject: 403 } },
  {
    name: "described",
    when: { body: { "service.@name": ".*" } },
    then: { service: "{body.service.@name}", attributes: { caller: "{from.user}" } },
  },
  { name: "any", when: {}, then: { service: "service1" } },
];

const portal = (config: typeof rules = rules) =>
  lab({
    servers: [
      { id: "a", services: ["service1", "info", "vip"] },
      { id: "b", services: ["beer"] },
    ],
    more: [{ id: "info" }, { id: "vip" }, { id: "beer" }],
    config: { rules: config },
  });

const fromOf = ({ headers }: SipRequest) => headers.get("from")?.replace(/;tag=.*/, "");

/** A request of the client's in its dialog, with the boss's name in From. */
function forged(l: Lab, method: string, { invite, answer }: Awaited<ReturnType<typeof establish>>, service: string) {
  const from = `${BOSS};tag=${invite.fromTag}`;
  return l.client.within(
    method,
    from,
    answer.headers.get("to")!,
    invite.callId,
    "sip:192.0.2.1:5060",
    2,
    wanting(service),
  );
}

describe.each(["INVITE", "UPDATE"])("From of a change of service by %s", (method) => {
  it("names nobody else to another app server", async () => {
    const l = await portal();
    const request = forged(l, method, await establish(l), "beer");
    const at = l.server("b").request("INVITE");
    expect(fromOf(at)).toBe('"Alice" <sip:alice@portal.com>');
    expect(at.headers.get("tollgate-attributes")).toContain("alice");
    // What the client wrote is what its answers have.
    l.server("b").answer(at, 200);
    await l.settle();
    expect(l.client.inbox.map(({ headers }) => headers.get("from"))).toContain(request.headers.get("from"));
    expect(l.client.inbox.every(({ headers }) => headers.get("from") === request.headers.get("from"))).toBe(true);
  });

  it("opens no service that is for another user", async () => {
    const l = await portal();
    forged(l, method, await establish(l), "vip");
    l.client.response(403);
    expect(l.server("a").inbox).toEqual([]);
  });

  it("nor to the same app server, nor in what it hears of the user", async () => {
    const l = await portal();
    forged(l, method, await establish(l), "info");
    const at = l.server("a").request(method === "INVITE" ? "INVITE" : "UPDATE");
    expect(at.headers.get("tollgate-service")).toBe("info");
    expect(`${at.headers.get("tollgate-attributes")}${fromOf(at)}`).not.toContain("boss");
  });

  it("of an app server's is the user's to the rules, whoever it calls itself", async () => {
    const l = await portal();
    const { server, inviteAtServer, answerOfServer } = await establish(l);
    const to = inviteAtServer.headers.get("from")!;
    const from = `${BOSS};tag=${answerOfServer.toTag}`;
    server.within(method, from, to, inviteAtServer.callId, "sip:192.0.2.1:5060", 2, wanting("vip"));
    server.response(403);
    expect(l.client.inbox).toEqual([]);
  });
});

describe("To of the client's answer to the relay's INVITE (M23)", () => {
  it("makes no other user of it: the next app server hears From as it was at the sign-in", async () => {
    const l = await portal([]);
    const { invite, answer, server } = await establish(l);
    const refer = (to: string): [string, string][] => [
      ["Contact", l.client.contact],
      ["Refer-To", `<${to}>`],
      ["Refer-Sub", "false"],
    ];
    l.client.inDialog("REFER", invite, answer, 2, { headers: refer("sip:beer@portal.com") });
    l.client.response(200);
    const b = l.server("b");
    b.answer(b.request("INVITE"), 200, { body: "v=0" });
    const invited = l.client.request("INVITE");
    const said = responseTo(invited, 200, "OK", "second");
    said.headers.set("To", `${BOSS};tag=second`).add("Contact", l.client.contact);
    l.client.send(said);
    l.client.request("ACK");
    for (const peer of [l.client, server]) peer.answer(peer.request("BYE"), 200);
    await l.settle();
    l.client.within(
      "REFER",
      `${BOSS};tag=second`,
      invited.headers.get("from")!,
      invited.callId,
      "sip:192.0.2.1:5060",
      1,
      {
        headers: refer("sip:service1@portal.com"),
      },
    );
    l.client.response(200);
    b.request("ACK");
    expect(fromOf(server.request("INVITE"))).toBe('"Alice" <sip:alice@portal.com>');
  });
});

describe("a body within a session whose Content-Type cannot be read", () => {
  it.each(["INVITE", "UPDATE"])("is not passed on by %s past the rules: 400", async (method) => {
    const l = await portal();
    const { invite, answer } = await establish(l);
    for (const [i, type] of [`${TYPE};`, `${TYPE};=`, `"${TYPE}"`, "xml"].entries()) {
      l.client.inDialog(method, invite, answer, 2 + i, { type, body: '<service name="vip"/>' });
      l.client.response(400);
    }
    expect(l.server("a").inbox).toEqual([]);
    // Nothing is under way: the next one is taken.
    l.client.inDialog(method, invite, answer, 9, { body: "v=0" });
    l.server("a").request(method);
  });

  it("passes where no rule would look into it", async () => {
    const l = await portal();
    const { invite, answer } = await establish(l);
    l.client.inDialog("INVITE", invite, answer, 2, { type: "application/sdp;", body: "v=0" });
    l.server("a").request("INVITE");
  });
});
