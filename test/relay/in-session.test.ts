import { describe, expect, it } from "vitest";
import { establish, lab } from "./harness.ts";

const CHARGE = "application/vnd.tollgate.charge+json";
const charge = (id: string, unitPrice = "12.50", currency = "EUR") =>
  JSON.stringify({ charges: [{ id, item: "Riesling", unitPrice, quantity: "2", currency }] });

describe("re-INVITE and UPDATE", () => {
  it("relays a hold and its answer and ACK, with bodies (RFC 3261 §14)", async () => {
    const l = await lab();
    const { invite, answer, server } = await establish(l);
    const hold = l.client.inDialog("INVITE", invite, answer, 2, { body: "a=sendonly" });
    const at = server.request("INVITE");
    expect(at.body.toString()).toBe("a=sendonly");
    server.answer(at, 200, { body: "a=recvonly" });
    const held = l.client.response(200);
    expect(held.body.toString()).toBe("a=recvonly");
    l.client.ack(hold, held);
    expect(server.request("ACK").cseq?.number).toBe(at.cseq?.number);
    expect(l.events).toHaveLength(1);
  });

  it("relays an UPDATE of the app server (RFC 3311)", async () => {
    const l = await lab();
    const { server, inviteAtServer, answerOfServer } = await establish(l);
    server.backInDialog("UPDATE", inviteAtServer, answerOfServer, 1, { headers: [["Subject", "now"]] });
    const at = l.client.request("UPDATE");
    expect(at.headers.get("subject")).toBe("now");
    l.client.answer(at, 200);
    server.response(200);
  });

  it("relays a refusal, and the session goes on (RFC 3261 §14.1)", async () => {
    const l = await lab();
    const { invite, answer, server } = await establish(l);
    const change = l.client.inDialog("INVITE", invite, answer, 2);
    server.answer(server.request("INVITE"), 488);
    server.request("ACK");
    l.client.ack(change, l.client.response(488));
    l.client.inDialog("INVITE", invite, answer, 3);
    server.request("INVITE");
  });

  it("answers 491 when both ends want a change at once, 500 to a second of the same end (RFC 3261 §14.2)", async () => {
    const l = await lab();
    const { invite, answer, server, inviteAtServer, answerOfServer } = await establish(l);
    l.client.inDialog("INVITE", invite, answer, 2);
    server.request("INVITE");
    server.backInDialog("INVITE", inviteAtServer, answerOfServer, 1);
    server.response(491);
    l.client.inDialog("UPDATE", invite, answer, 3);
    expect(l.client.response(500).headers.has("retry-after")).toBe(true);
  });

  it("cancels a re-INVITE, and the session goes on", async () => {
    const l = await lab();
    const { invite, answer, server } = await establish(l);
    const change = l.client.inDialog("INVITE", invite, answer, 2);
    const at = server.request("INVITE");
    server.answer(at, 180);
    l.client.response(180);
    l.client.cancel(change);
    l.client.response(200);
    server.answer(server.request("CANCEL"), 200);
    server.answer(at, 487);
    l.client.response(487);
    expect(l.core.sessions.size).toBe(1);
  });

  it("answers the re-INVITE under way with 487 when the session ends (RFC 3261 §15.1.2)", async () => {
    const l = await lab();
    const { invite, answer, server, inviteAtServer, answerOfServer } = await establish(l);
    l.client.inDialog("INVITE", invite, answer, 2);
    server.request("INVITE");
    server.backInDialog("BYE", inviteAtServer, answerOfServer, 1);
    l.client.response(487);
    l.client.answer(l.client.request("BYE"), 200);
    await l.settle();
    server.response(200);
  });

  it("ends the session when a re-INVITE's 200 is never acknowledged (RFC 3261 §13.3.1.4)", async () => {
    const l = await lab();
    const { invite, answer, server } = await establish(l);
    l.client.inDialog("INVITE", invite, answer, 2);
    server.answer(server.request("INVITE"), 200);
    l.client.deaf = true;
    l.clock.advance(33_000);
    server.request("ACK"); // RFC 3261 §13.2.2.4
    server.request("BYE");
  });

  it("sends to the Contact of the last change (RFC 3261 §12.2)", async () => {
    const l = await lab();
    const { invite, answer, server } = await establish(l);
    l.client.inDialog("UPDATE", invite, answer, 2);
    server.answer(server.request("UPDATE"), 200, { headers: [["Contact", "<sip:moved@192.0.2.100:5060>"]] });
    l.client.response(200);
    l.client.inDialog("BYE", invite, answer, 3);
    expect(server.request("BYE").uri).toBe("sip:moved@192.0.2.100:5060");
  });
});

describe("a client with an IPv6 address (RFC 5118)", () => {
  it.each(["2001:db8::50", "2001:DB8:0::50"])(
    "is no client behind a NAT: %s; its new Contact counts",
    async (address) => {
      const l = await lab({ clientAddress: address, config: { clients: { networks: ["2001:db8::/64"] } } });
      l.client.flow.remoteAddress = "2001:db8::50";
      const { invite, answer, server, inviteAtServer, answerOfServer } = await establish(l);
      const moved = l.peer("2001:db8::51", 5070);
      l.client.contact = moved.contact;
      l.client.inDialog("UPDATE", invite, answer, 2);
      server.answer(server.request("UPDATE"), 200);
      l.client.response(200);
      server.backInDialog("BYE", inviteAtServer, answerOfServer, 1);
      expect(moved.request("BYE").uri).toBe("sip:peer@[2001:db8::51]:5070");
      expect(l.client.inbox).toEqual([]);
    },
  );

  it("is answered where it called from, where its address is link-local: no message carries a zone (RFC 4007 §11)", async () => {
    const l = await lab({ clientAddress: "fe80::50" });
    l.client.flow.remoteAddress = "fe80::50%eth0";
    const { server, inviteAtServer, answerOfServer } = await establish(l);
    const withZone = l.peer("fe80::50%eth0", 5062);
    server.backInDialog("BYE", inviteAtServer, answerOfServer, 1);
    withZone.request("BYE");
  });
});

describe("other requests inside a session", () => {
  it.each(["MESSAGE", "OPTIONS", "NOTIFY", "INFO"])("relays %s and its answer, both ways", async (method) => {
    const l = await lab();
    const { invite, answer, server, inviteAtServer, answerOfServer } = await establish(l);
    l.client.inDialog(method, invite, answer, 2, { body: "hello", type: "text/plain" });
    const at = server.request(method);
    expect(at.body.toString()).toBe("hello");
    server.answer(at, 200, { body: "world", type: "text/plain" });
    expect(l.client.response(200).body.toString()).toBe("world");
    server.backInDialog(method, inviteAtServer, answerOfServer, 1);
    l.client.answer(l.client.request(method), 486);
    server.response(486);
  });

  it("answers 469 to a package that nobody offered, and passes one that was (RFC 6086 §4.2.2)", async () => {
    const l = await lab();
    const { invite, answer, server, inviteAtServer, answerOfServer, ...rest } = await establish(l, {
      inviteHeaders: [["Recv-Info", "chat, tollgate-charge"]],
      answerHeaders: [["Recv-Info", "menu"]],
    });
    expect(rest).toBeDefined();
    expect(inviteAtServer.headers.get("recv-info")).toBe("chat, tollgate-charge");
    expect(answer.headers.get("recv-info")).toBe("menu");
    const client = (name: string, seq: number) =>
      l.client.inDialog("INFO", invite, answer, seq, { headers: [["Info-Package", name]] });
    client("menu", 2);
    server.answer(server.request("INFO"), 200);
    l.client.response(200);
    client("games", 3);
    expect(l.client.response(469).headers.get("recv-info")).toBe("menu");
    client("tollgate-charge", 4); // The relay takes charges from app servers only.
    l.client.response(469);
    server.backInDialog("INFO", inviteAtServer, answerOfServer, 1, { headers: [["Info-Package", "games"]] });
    expect(server.response(469).headers.get("recv-info")).toBe("chat, tollgate-charge");
    server.backInDialog("INFO", inviteAtServer, answerOfServer, 2, { headers: [["Info-Package", "chat"]] });
    l.client.answer(l.client.request("INFO"), 200);
    server.response(200);
  });

  it.each(["BYE", "MESSAGE", "INFO"])(
    "takes a %s whose CSeq is the last one again (RFC 3261 §12.2.2)",
    async (method) => {
      const l = await lab();
      const { invite, answer, server } = await establish(l);
      l.client.inDialog("MESSAGE", invite, answer, 5);
      server.answer(server.request("MESSAGE"), 200);
      l.client.response(200);
      l.client.inDialog(method, invite, answer, 5);
      server.request(method);
    },
  );

  it.each(["INVITE", "UPDATE"])(
    "takes no %s whose CSeq is the last one again: it may be a copy from elsewhere",
    async (method) => {
      const l = await lab();
      const { invite, answer } = await establish(l);
      l.client.inDialog(method, invite, answer, 1);
      l.client.response(500);
    },
  );

  it("takes a BYE that has the CSeq of the INVITE (RFC 3261 §12.2.2)", async () => {
    const l = await lab();
    const { invite, answer, server } = await establish(l);
    l.client.inDialog("BYE", invite, answer, 1);
    server.answer(server.request("BYE"), 200);
    await l.settle();
    l.client.response(200);
    expect(l.core.sessions.size).toBe(0);
  });

  it("answers 500 to a CSeq that goes back (RFC 3261 §12.2.2), 481 to a stranger's tags", async () => {
    const l = await lab();
    const { invite, answer, server } = await establish(l);
    l.client.inDialog("MESSAGE", invite, answer, 5);
    server.answer(server.request("MESSAGE"), 200);
    l.client.response(200);
    l.client.inDialog("MESSAGE", invite, answer, 4);
    l.client.response(500);
    invite.headers.set("From", "<sip:alice@portal.com>;tag=stranger");
    l.client.inDialog("BYE", invite, answer, 6);
    l.client.response(481);
    expect(l.core.sessions.size).toBe(1);
  });
});

describe("charges of app servers (M14, M16)", () => {
  const info = (id: string, headers: [string, string][] = [["Info-Package", "tollgate-charge"]]) => ({
    headers,
    body: charge(id),
    type: CHARGE,
  });

  it("records a charge in INFO, then answers; the client sees nothing of it (M14)", async () => {
    const l = await lab();
    const { server, inviteAtServer, answerOfServer } = await establish(l);
    server.backInDialog("INFO", inviteAtServer, answerOfServer, 1, info("c1"));
    expect(server.inbox).toEqual([]); // Not before it is on record.
    await l.settle();
    server.response(200);
    expect(l.events.at(-1)).toMatchObject({
      type: "charge.made",
      channel: "info",
      charge: { id: "c1", unitPrice: "12.50", quantity: "2" },
    });
    expect(l.client.inbox).toEqual([]);
  });

  it("takes it without a package too, by its media type, and in XML (M14)", async () => {
    const l = await lab();
    const { server, inviteAtServer, answerOfServer } = await establish(l);
    server.backInDialog("INFO", inviteAtServer, answerOfServer, 1, info("c1", []));
    const xml = "<charge><id>c2</id><item>Pils</item><unitPrice>3</unitPrice><currency>EUR</currency></charge>";
    server.backInDialog("INFO", inviteAtServer, answerOfServer, 2, {
      body: xml,
      type: "application/vnd.tollgate.charge+xml",
    });
    await l.settle();
    server.response(200);
    server.response(200);
    expect(l.events.filter((event) => event.type === "charge.made")).toHaveLength(2);
  });

  it("charges the same id once, and refuses it with other terms (decision 9)", async () => {
    const l = await lab();
    const { server, inviteAtServer, answerOfServer } = await establish(l);
    for (const seq of [1, 2]) server.backInDialog("INFO", inviteAtServer, answerOfServer, seq, info("c1"));
    server.backInDialog("INFO", inviteAtServer, answerOfServer, 3, { ...info("c1"), body: charge("c1", "99.00") });
    await l.settle();
    expect(server.inbox.map((message) => (message.isRequest ? 0 : message.status)).sort()).toEqual([200, 200, 403]);
    expect(l.events.filter((event) => event.type === "charge.made")).toHaveLength(1);
  });

  it("says in a 400 what is wrong with a bad body", async () => {
    const l = await lab();
    const { server, inviteAtServer, answerOfServer } = await establish(l);
    server.backInDialog("INFO", inviteAtServer, answerOfServer, 1, { ...info("c1"), body: charge("c1", "twelve") });
    const refused = server.response(400);
    expect(refused.reason).toContain("unitPrice");
    // RFC 3261 §20.43, §25.1: a quoted string.
    expect(refused.headers.get("warning")).toMatch(/^399 tollgate "[^"]*unitPrice[^"]* is \\"twelve\\""$/);
  });

  it.each([
    ["another currency than the tariff's", charge("c1", "1", "USD")],
    ["more than the service's limit for one charge", charge("c1", "26")],
  ])("refuses %s with 403", async (_, body) => {
    const l = await lab({ service: { limits: { charge: "50", session: "70", currency: "EUR" } } });
    const { server, inviteAtServer, answerOfServer } = await establish(l);
    server.backInDialog("INFO", inviteAtServer, answerOfServer, 1, { ...info("c1"), body });
    server.response(403);
    expect(l.core.counters.chargesRefused).toBe(1);
    expect(l.events).toHaveLength(1);
  });

  it("refuses what goes over the service's limit for a session", async () => {
    const l = await lab({ service: { limits: { session: "40", currency: "EUR" } } });
    const { server, inviteAtServer, answerOfServer } = await establish(l);
    server.backInDialog("INFO", inviteAtServer, answerOfServer, 1, info("c1"));
    server.backInDialog("INFO", inviteAtServer, answerOfServer, 2, info("c2"));
    await l.settle();
    expect(server.inbox.map((message) => (message.isRequest ? 0 : message.status)).sort()).toEqual([200, 403]);
  });

  it("answers 500 when the charge cannot be put on record, and takes it when it comes again (decision 8)", async () => {
    const l = await lab();
    const { server, inviteAtServer, answerOfServer } = await establish(l);
    l.breakRecorder(true);
    server.backInDialog("INFO", inviteAtServer, answerOfServer, 1, info("c1"));
    await l.settle();
    server.response(500);
    l.breakRecorder(false);
    server.backInDialog("INFO", inviteAtServer, answerOfServer, 2, info("c1"));
    await l.settle();
    server.response(200);
    expect(l.events.at(-1)?.type).toBe("charge.made");
  });

  it("answers a charge that comes again while it is on its way to the disk no sooner than the first (decision 8)", async () => {
    const l = await lab();
    const { server, inviteAtServer, answerOfServer } = await establish(l);
    l.breakRecorder(true);
    server.backInDialog("INFO", inviteAtServer, answerOfServer, 1, info("c1"));
    server.backInDialog("INFO", inviteAtServer, answerOfServer, 2, info("c1"));
    await l.settle();
    server.response(500);
    server.response(500);
    l.breakRecorder(false);
    server.backInDialog("INFO", inviteAtServer, answerOfServer, 3, info("c1"));
    server.backInDialog("INFO", inviteAtServer, answerOfServer, 4, info("c1"));
    expect(server.inbox).toEqual([]);
    await l.settle();
    server.response(200);
    server.response(200);
    expect(l.events.filter((event) => event.type === "charge.made")).toHaveLength(1);
  });

  it("answers the BYE of a session without ACK when the charges in the other 200 are on disk (M16)", async () => {
    const l = await lab();
    const invite = l.client.invite({ body: "v=0" });
    const server = l.server("a");
    server.answer(server.request("INVITE"), 200);
    const answer = l.client.response(200);
    l.client.inDialog("BYE", invite, answer, 2); // The ACK is lost.
    server.request("ACK");
    const bye = server.request("BYE");
    l.breakRecorder(true);
    server.answer(bye, 200, { body: charge("c9"), type: CHARGE });
    await l.settle();
    l.client.response(500);
  });

  it("counts a charge that did not reach the disk for no limit (M14)", async () => {
    const l = await lab({ service: { limits: { session: "30", currency: "EUR" } } });
    const { server, inviteAtServer, answerOfServer } = await establish(l);
    l.breakRecorder(true);
    server.backInDialog("INFO", inviteAtServer, answerOfServer, 1, info("c1"));
    await l.settle();
    server.response(500);
    l.breakRecorder(false);
    server.backInDialog("INFO", inviteAtServer, answerOfServer, 2, info("c1"));
    await l.settle();
    server.response(200);
  });

  it("takes charges out of the 200 to BYE, and the client sees nothing of them (M16)", async () => {
    const l = await lab();
    const { invite, answer, server } = await establish(l);
    l.client.inDialog("BYE", invite, answer, 2);
    server.answer(server.request("BYE"), 200, { body: charge("c9"), type: CHARGE });
    await l.settle();
    const final = l.client.response(200);
    expect(final.body).toHaveLength(0);
    expect(final.headers.has("content-type")).toBe(false);
    expect(l.events.map((event) => event.type)).toEqual(["session.started", "charge.made", "session.ended"]);
    expect(l.events[1]).toMatchObject({ channel: "bye", charge: { id: "c9" } });
  });

  it("ends the session all the same when the charges in the 200 to BYE are bad", async () => {
    const l = await lab();
    const { invite, answer, server } = await establish(l);
    l.client.inDialog("BYE", invite, answer, 2);
    server.answer(server.request("BYE"), 200, { body: "{", type: CHARGE });
    await l.settle();
    l.client.response(200);
    expect(l.core.counters.chargesRefused).toBe(1);
    expect(l.events.map((event) => event.type)).toEqual(["session.started", "charge.refused", "session.ended"]);
    expect(l.events[1]).toMatchObject({ reason: "body is not JSON", session: { appServer: "a" } });
  });

  it("takes charges out of the app server's own BYE (M16)", async () => {
    const l = await lab();
    const { server, inviteAtServer, answerOfServer } = await establish(l);
    server.backInDialog("BYE", inviteAtServer, answerOfServer, 1, { body: charge("c9"), type: CHARGE });
    const bye = l.client.request("BYE");
    expect(bye.body).toHaveLength(0);
    l.client.answer(bye, 200);
    await l.settle();
    server.response(200);
    expect(l.events[1]).toMatchObject({ type: "charge.made", charge: { id: "c9" } });
  });
});
