import { describe, expect, it } from "vitest";
import type { ChargingEvent } from "../../src/charging/events/events.ts";
import type { User } from "../../src/directory/types.ts";
import { establish, type Lab, lab } from "./harness.ts";

const CHARGE = "application/vnd.tollgate.charge+json";
const alice = (over: Partial<User> = {}): User => ({ id: "alice", realm: "portal.com", ha1: { sha256: "" }, ...over });
const of = <T extends ChargingEvent["type"]>(l: Lab, type: T) =>
  l.events.filter((event): event is Extract<ChargingEvent, { type: T }> => event.type === type);

/** A session of alice; then somebody else has her name. */
async function takenOver(services: string[] = ["service1"]) {
  const users = [alice()];
  const l = await lab({ users, servers: [{ services }], more: [{ id: "beer", tariff: "t" }] });
  const call = await establish(l);
  users[0] = alice({ account: "alice#2" });
  await l.core.directory.reload();
  return { l, call };
}

describe("a user who has the name of another one before", () => {
  it("is billed under an account of their own, and known to app servers by the name", async () => {
    const l = await lab({ users: [alice({ account: "alice#2" })] });
    const { server, inviteAtServer, answerOfServer } = await establish(l);
    expect(inviteAtServer.headers.get("p-asserted-identity")).toContain("sip:alice@portal.com");
    const body = JSON.stringify({ charges: [{ id: "1", item: "Riesling", unitPrice: "4", currency: "EUR" }] });
    server.backInDialog("INFO", inviteAtServer, answerOfServer, 1, { type: CHARGE, body });
    await l.settle();
    server.response(200);
    expect(l.events.map(({ type, session }) => `${type} ${session.user}`)).toEqual([
      "session.started alice#2",
      "charge.made alice#2",
    ]);
  });

  it("pays from a balance of their own", async () => {
    const l = await lab({
      users: [alice({ account: "alice#2", prepaid: { currency: "EUR" } })],
      clientTransport: "tcp",
    });
    await l.credit.pay("alice", "100");
    l.client.invite();
    await l.settle();
    l.client.response(402);
    await l.credit.pay("alice#2", "5");
    l.client.invite();
    await l.settle();
    l.server("a").request("INVITE");
    expect([l.credit.available("alice"), l.credit.available("alice#2")]).toEqual([100, 4.9]);
  });

  it("cannot move or replace a session of the one before (RFC 3891 §5, RFC 3515 §2.4.4)", async () => {
    const { l, call } = await takenOver();
    const tag = (text: string | undefined) => /tag=([^;]+)/.exec(text ?? "")![1]!;
    const [from, to] = [tag(call.invite.headers.get("from")), tag(call.answer.headers.get("to"))];
    l.client.invite({ headers: [["Replaces", `${call.invite.callId};to-tag=${to};from-tag=${from}`]] });
    expect(l.client.response(403).reason).toBe("Not Your Session");
    l.client.inDialog("REFER", call.invite, call.answer, 2, { headers: [["Refer-To", "<sip:service1@portal.com>"]] });
    expect(l.client.response(403).reason).toBe("Not Your Session");
    // Where it is only related, it is to nothing.
    l.client.invite({ headers: [["Target-Dialog", `${call.invite.callId};local-tag=${from};remote-tag=${to}`]] });
    const asked = l.server("a").request("INVITE");
    l.server("a").answer(asked, 486);
    expect(of(l, "session.moved")).toEqual([]);
  });

  it("does not pay for what goes on in a session of the one before: its next part is still theirs (M20)", async () => {
    const { l, call } = await takenOver(["service1", "beer"]);
    const { server, invite, answer } = call;
    const reinvite = l.client.inDialog("INVITE", invite, answer, 2, {
      type: "application/vnd.tollgate.service+xml",
      body: '<service name="beer"/>',
    });
    const asked = server.request("INVITE");
    server.answer(asked, 200, {
      tag: asked.headers.get("to")!.replace(/.*tag=/, ""),
      headers: [["Tollgate-Service", "beer"]],
    });
    l.client.ack(reinvite, l.client.response(200));
    await l.settle();
    const [changed] = of(l, "session.changed");
    expect([changed!.from.user, changed!.session.user]).toEqual(["alice", "alice"]);
  });
});
