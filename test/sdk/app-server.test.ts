import { describe, expect, it } from "vitest";
import type { ServiceHandler } from "../../src/sdk/app-api.ts";
import { createClient } from "../../src/sdk/node-client.ts";
import { connect, established, inDialog, inviteLines, open, start, wine } from "./app-peer.ts";
import { bodyOf, FakeRelay, header } from "./peer.ts";

describe("a request for a service (M5)", () => {
  it("hands the handler who asks for what", async () => {
    const seen: unknown[] = [];
    const { relay } = await start((request) => {
      seen.push(request.service, request.user, request.description, request.header("subject"));
      request.refuse(486);
    });
    const headers = ["Subject: dinner", "Content-Type: application/vnd.tollgate.service+xml"];
    relay.send(inviteLines("wine", headers), "<wine>größer</wine>");
    await relay.next("SIP/2.0 100");
    await relay.next("SIP/2.0 180");
    await relay.next("SIP/2.0 486 Busy Here");
    const description = { contentType: "application/vnd.tollgate.service+xml", content: "<wine>größer</wine>" };
    expect(seen).toEqual(["wine", "sip:alice@portal.com", description, "dinner"]);
  });

  it.each([
    ["that the relay asserts (RFC 3325)", ["P-Asserted-Identity: <sip:bob@portal.com>"], "sip:bob@portal.com"],
    ["of nobody where nobody is asserted: never From", [], undefined],
    ["of nobody where that cannot be read", ["P-Asserted-Identity: bob, <sip:"], undefined],
  ])("takes the identity %s", async (_what, asserted, expected) => {
    let user: unknown = "not asked";
    const { relay } = await start((request) => {
      user = request.user;
      request.refuse(486);
    });
    relay.send([...inviteLines().filter((line) => !line.startsWith("P-Asserted-Identity")), ...asserted]);
    for (const status of ["100", "180", "486"]) await relay.next(`SIP/2.0 ${status}`);
    expect(user).toBe(expected);
  });

  it("answers with the URL of the service and with Recv-Info (M6, RFC 6086 §5.2.3)", async () => {
    const { app, answer } = await established();
    expect(bodyOf(answer)).toBe('{"url":"http://shop/"}');
    expect(header(answer, "content-type")).toBe("application/vnd.tollgate.access+json");
    expect(header(answer, "recv-info")).toBe("");
    expect(header(answer, "contact")).toBe(`<${app.uri}>`);
    expect(app.sessions).toBe(1);
  });

  it("gives no Recv-Info where the INVITE has none (RFC 6086 §5.2.3)", async () => {
    const { answer } = await established({ invite: inviteLines("wine", []) });
    expect(header(answer, "recv-info")).toBeUndefined();
  });

  it("takes a description as the body of its answer", async () => {
    const { app, relay } = await start((request) => void request.accept({ body: "<go/>", contentType: "text/xml" }));
    relay.send(inviteLines());
    await relay.next("SIP/2.0 100");
    await relay.next("SIP/2.0 180");
    const answer = await relay.next("SIP/2.0 200");
    expect([header(answer, "content-type"), bodyOf(answer)]).toEqual(["text/xml", "<go/>"]);
    relay.send(inDialog(app, answer, "ACK", 1));
  });

  it.each([
    ["its refusal", ((request) => request.refuse(488, "No Red Wine")) as ServiceHandler, "SIP/2.0 488 No Red Wine"],
    ["500 where the handler throws", (() => Promise.reject(new Error("broken"))) as ServiceHandler, "SIP/2.0 500"],
  ])("answers with %s", async (_what, handler, expected) => {
    const { relay } = await start(handler);
    relay.send(inviteLines());
    await relay.next("SIP/2.0 100");
    await relay.next("SIP/2.0 180");
    await relay.next(expected);
  });

  it.each([
    ["404 for a service that it does not offer", inviteLines("beer"), "", "SIP/2.0 404"],
    ["404 for a name that every object has", inviteLines("constructor"), "", "SIP/2.0 404"],
    ["400 for a body without a type", inviteLines(), "x", "SIP/2.0 400"],
  ])("answers %s", async (_what, invite, body, expected) => {
    const { relay } = await start((request) => void request.accept());
    relay.send(invite, body);
    await relay.next("SIP/2.0 100");
    await relay.next(expected);
  });

  it("finds the service in To where the Request-URI is its own address", async () => {
    const { app, relay } = await start((request) => request.refuse(486));
    relay.send(inviteLines().with(0, `INVITE ${app.uri} SIP/2.0`));
    for (const status of ["100", "180", "486"]) await relay.next(`SIP/2.0 ${status}`);
  });

  it("answers 503 with Retry-After beyond its capacity (M5)", async () => {
    const { app, relay } = await start((request) => void request.accept(), { capacity: 1 });
    relay.send(inviteLines());
    await relay.next("SIP/2.0 100");
    await relay.next("SIP/2.0 180");
    relay.send(inDialog(app, await relay.next("SIP/2.0 200"), "ACK", 1));
    relay.send(inviteLines());
    await relay.next("SIP/2.0 100");
    expect(header(await relay.next("SIP/2.0 503"), "retry-after")).toBe("5");
  });

  it("answers CANCEL with 487 and tells the handler (RFC 3261 §9.2)", async () => {
    let aborted!: () => void;
    const told = new Promise<void>((resolve) => {
      aborted = resolve;
    });
    let late: Promise<unknown> | undefined;
    const { relay } = await start((request) => {
      request.signal.addEventListener("abort", () => {
        late = request.accept().catch((error) => error);
        aborted();
      });
    });
    const invite = inviteLines();
    relay.send(invite);
    await relay.next("SIP/2.0 100");
    await relay.next("SIP/2.0 180");
    relay.send(
      invite.map((line) => line.replace("INVITE", "CANCEL")).filter((line) => !/^(Contact|Recv-Info)/.test(line)),
    );
    await relay.next("SIP/2.0 200");
    await relay.next("SIP/2.0 487");
    await told;
    expect(await late).toMatchObject({ status: 487 });
  });
});

describe("charging while the session lasts (M14)", () => {
  it("sends INFO with the package that the relay offers and resolves on its 200 (RFC 6086)", async () => {
    const { relay, session } = await established();
    const charging = session.charge(wine, { item: "Delivery", unitPrice: "4.90", currency: "EUR" });
    const info = await relay.next("INFO sip:127.0.0.1:5060;transport=tcp SIP/2.0");
    expect(header(info, "info-package")).toBe("tollgate-charge");
    expect(header(info, "content-disposition")).toBe("Info-Package");
    expect(header(info, "content-type")).toBe("application/vnd.tollgate.charge+json");
    const { charges } = JSON.parse(bodyOf(info));
    expect(charges).toMatchObject([wine, { item: "Delivery", unitPrice: "4.90", quantity: "1", currency: "EUR" }]);
    relay.answer(info, "200 OK");
    expect(await charging).toEqual(["b1", charges[1].id]);
  });

  it("sends a legacy INFO where the relay does not offer the package (RFC 6086 §4.2.1)", async () => {
    const { relay, session } = await established({
      invite: inviteLines("wine", ["Recv-Info: weather, tollgate-charges"]),
    });
    const charging = session.charge(wine);
    const info = await relay.next("INFO");
    expect(header(info, "info-package")).toBeUndefined();
    expect(header(info, "content-type")).toBe("application/vnd.tollgate.charge+json");
    relay.answer(info, "200 OK");
    await charging;
  });

  it("rejects with the relay's reason, and the session goes on", async () => {
    const { relay, session } = await established();
    const charging = session.charge(wine);
    relay.answer(
      await relay.next("INFO"),
      "400 Currency must be JPY",
      ["Content-Type: text/plain"],
      "charges[0].currency",
    );
    await expect(charging).rejects.toMatchObject({
      status: 400,
      reason: "Currency must be JPY",
      detail: "charges[0].currency",
    });
    const again = session.charge({ ...wine, currency: "JPY" });
    relay.answer(await relay.next("INFO"), "200 OK");
    await again;
  });

  it("hangs up where the relay knows of no such session (RFC 3261 §12.2.1.2)", async () => {
    const { relay, session } = await established();
    const charging = session.charge(wine);
    relay.answer(await relay.next("INFO"), "481 Call/Transaction Does Not Exist");
    await expect(charging).rejects.toMatchObject({ status: 481 });
    relay.answer(await relay.next("BYE"), "481 Call/Transaction Does Not Exist");
    expect(await session.ended).toEqual({ by: "local", status: 481 });
    await expect(session.charge(wine)).rejects.toMatchObject({ status: 481 });
  });

  it("does not end the process where nobody waits for a refused charge", async () => {
    const { relay, session } = await established();
    void session.charge(wine);
    relay.answer(await relay.next("INFO"), "400 Bad Request");
    const again = session.charge(wine);
    relay.answer(await relay.next("INFO"), "200 OK");
    await again;
  });
});

describe("the end of a session (M11, M16)", () => {
  it("puts what the callbacks return into the body of its 200 to BYE (M16)", async () => {
    const { app, relay, answer, session } = await established();
    session.onEnd(async () => [wine]);
    session.onEnd(() => {
      throw new Error("broken");
    });
    session.onEnd(() => undefined);
    relay.send(inDialog(app, answer, "BYE", 2, ['Reason: SIP;cause=200;text="enough"']));
    const ok = await relay.next("SIP/2.0 200");
    expect(header(ok, "content-type")).toBe("application/vnd.tollgate.charge+json");
    expect(JSON.parse(bodyOf(ok))).toEqual({ charges: [wine] });
    expect(await session.ended).toEqual({ by: "remote", reason: 'SIP;cause=200;text="enough"' });
    expect(app.sessions).toBe(0);
  });

  it("answers BYE with an empty 200 where nothing is to be charged", async () => {
    const { app, relay, answer, session } = await established();
    relay.send(inDialog(app, answer, "BYE", 2));
    expect(bodyOf(await relay.next("SIP/2.0 200"))).toBe("");
    await session.ended;
  });

  it("hangs up by itself (M11)", async () => {
    const { relay, session } = await established();
    const ending = session.end();
    relay.answer(await relay.next("BYE sip:127.0.0.1:5060;transport=tcp SIP/2.0"), "200 OK");
    expect(await ending).toEqual({ by: "local", status: 200 });
  });

  it("waits with its BYE for the ACK (RFC 3261 §15)", async () => {
    const { app, relay } = await start((request) => void request.accept());
    relay.send(inviteLines());
    await relay.next("SIP/2.0 100");
    await relay.next("SIP/2.0 180");
    const answer = await relay.next("SIP/2.0 200");
    const closing = app.close();
    relay.send(inDialog(app, answer, "ACK", 1));
    relay.answer(await relay.next("BYE"), "200 OK");
    await closing;
  });

  it("ends a session whose BYE comes before its ACK", async () => {
    let accepted: Promise<unknown> | undefined;
    const { app, relay } = await start((request) => {
      accepted = request.accept().catch((error) => error);
    });
    relay.send(inviteLines());
    await relay.next("SIP/2.0 100");
    await relay.next("SIP/2.0 180");
    const answer = await relay.next("SIP/2.0 200");
    relay.send(inDialog(app, answer, "BYE", 2));
    await relay.next("SIP/2.0 200");
    expect(await accepted).toMatchObject({ status: 408 });
    expect(app.sessions).toBe(0);
  });
});

describe("the connections of an app server", () => {
  it("answers OPTIONS with 200, and with 503 once it closes (health)", async () => {
    const { app, relay } = await established();
    const options = inviteLines().map((line) => line.replace("INVITE", "OPTIONS"));
    relay.send(options);
    const answer = await relay.next("SIP/2.0 200");
    expect(header(answer, "allow")).toMatch(/INVITE, ACK, BYE/);
    const closing = app.close();
    const bye = await relay.next("BYE");
    relay.send(options.map((line) => line.replace(/branch=.*/, "branch=z9hG4bKlater")));
    expect(header(await relay.next("SIP/2.0 503"), "retry-after")).toBe("5");
    relay.answer(bye, "200 OK");
    await closing;
    await relay.closed();
  });

  it("knows the relay's address however it is written (M10)", async () => {
    const { app, relay } = await start((request) => void request.accept(), { relays: ["::FFFF:7f00:1"] });
    relay.send(inviteLines().map((line) => line.replace("INVITE", "OPTIONS")));
    await relay.next("SIP/2.0 200");
    expect(app.sessions).toBe(0);
  });

  it("answers OPTIONS in a dialog with 200, and with 481 where there is no such dialog (RFC 3261 §12.2.2)", async () => {
    const { app, relay, answer, session } = await established();
    relay.send(inDialog(app, answer, "OPTIONS", 2));
    await relay.next("SIP/2.0 200");
    relay.send(inDialog(app, answer.replace(/;tag=relay/, ";tag=other"), "OPTIONS", 3));
    await relay.next("SIP/2.0 481");
    relay.send(inDialog(app, answer, "BYE", 4));
    await relay.next("SIP/2.0 200");
    await session.ended;
  });

  it("goes on with a session on another connection, and sends where the last request came from", async () => {
    const { app, relay, answer, session } = await established();
    await relay.finish();
    const second = await connect(app);
    second.send(inDialog(app, answer, "INFO", 2, ["Info-Package: weather"]));
    await second.next("SIP/2.0 469");
    const ending = session.end();
    second.answer(await second.next("BYE"), "200 OK");
    expect(await ending).toMatchObject({ status: 200 });
  });

  it("dials the relay where no connection is left (RFC 3261 §18.1.1)", async () => {
    const fake = await FakeRelay.listen();
    const invite = inviteLines().map((line) => line.replace(/^Contact: .*/, `Contact: <${fake.uri}>`));
    const { relay, session } = await established({ invite });
    await relay.finish();
    const ending = session.end();
    const dialled = await fake.peer();
    dialled.answer(await dialled.next("BYE"), "200 OK");
    expect(await ending).toMatchObject({ by: "local", status: 200 });
    fake.close();
  });

  it("turns away whoever is no relay (M10)", async () => {
    const { relay } = await start((request) => void request.accept(), { relays: ["192.0.2.1"] });
    await relay.closed();
  });

  it("answers a keep-alive ping (RFC 5626 §4.4.1)", async () => {
    const { app, relay } = await start(() => {});
    relay.raw("\r\n\r\n\r\n\r\n");
    relay.send(inviteLines().map((line) => line.replace("INVITE", "OPTIONS")));
    await relay.next("SIP/2.0 200");
    expect(relay.pings).toBe(1); // two pongs of one empty line each, before the answer
    expect(app.sessions).toBe(0);
  });
});

describe("client and app server without a relay between them", () => {
  it("set up a session, charge at the end and hang up", async () => {
    const { app } = await start(async (request) => {
      const session = await request.accept({ url: `http://shop/${request.user}` });
      session.onEnd(() => [wine]);
    });
    const client = createClient({ relay: app.uri, user: "alice", password: "", domain: "portal.com" });
    const session = await client.request("wine", { description: '{"a":1}', contentType: "application/json" });
    // No relay vouches for anybody.
    expect(session.access).toBe("http://shop/undefined");
    const { status, body } = await session.end();
    expect(status).toBe(200);
    expect(JSON.parse(body!.content)).toEqual({ charges: [wine] });
    await client.close();
  });

  it("end it from the app server's side", async () => {
    const { app } = await start(async (request) => {
      const session = await request.accept();
      await session.end();
    });
    const client = createClient({ relay: app.uri, user: "alice", password: "" });
    const session = await client.request("wine");
    expect(await session.ended).toEqual({ by: "remote" });
    await client.close();
  });
});

describe("charges after the session's end (M15)", () => {
  const asserted = "P-Asserted-Identity: <sip:alice@portal.example>";
  const invite = () => inviteLines("wine", ["Recv-Info: tollgate-charge", "Tollgate-Session: s1", asserted]);
  const late = { charging: { key: "k1", secret: "s3cret" } };

  it("go by MESSAGE on the relay's connection, and name the session; a challenge is answered with the key", async () => {
    const { app, relay, answer, session } = await established({ ...late, invite: invite() });
    expect(session.tollgateSession).toBe("s1");
    relay.send(inDialog(app, answer, "BYE", 2));
    await relay.next("SIP/2.0 200");
    await session.ended;
    const charged = session.charge(wine);
    const first = await relay.next("MESSAGE sip:charges@portal.example SIP/2.0");
    expect(header(first, "tollgate-session")).toBe("s1");
    expect(header(first, "route")).toBe("<sip:127.0.0.1:5060;transport=tcp;lr>");
    expect(JSON.parse(bodyOf(first))).toEqual({ charges: [wine] });
    relay.answer(first, "401 Unauthorized", [
      'WWW-Authenticate: Digest realm="charges.portal.example", nonce="n1", algorithm=SHA-256, qop="auth"',
    ]);
    const second = await relay.next("MESSAGE sip:charges@portal.example SIP/2.0");
    expect(header(second, "authorization")).toContain('username="k1", realm="charges.portal.example"');
    relay.answer(second, "200 OK");
    expect(await charged).toEqual(["b1"]);
  });

  it("go by MESSAGE too when the INFO comes too late for the relay's dialog", async () => {
    const { relay, session } = await established({ ...late, invite: invite() });
    const charged = session.charge(wine);
    relay.answer(await relay.next("INFO "), "481 Call/Transaction Does Not Exist");
    relay.answer(await relay.next("BYE "), "481 Call/Transaction Does Not Exist");
    relay.answer(await relay.next("MESSAGE "), "200 OK");
    expect(await charged).toEqual(["b1"]);
  });

  it("are refused with what the relay says, and with 481 where the server has no way to sign them", async () => {
    const { app, relay, answer, session } = await established({ ...late, invite: invite() });
    relay.send(inDialog(app, answer, "BYE", 2));
    await relay.next("SIP/2.0 200");
    const charged = session.charge(wine);
    relay.answer(await relay.next("MESSAGE "), "410 Gone");
    await expect(charged).rejects.toMatchObject({ status: 410 });
    for (const peer of open.peers.splice(0)) await peer.finish();
    await app.close();
    const without = await established({ invite: invite() });
    without.relay.send(inDialog(without.app, without.answer, "BYE", 2));
    await without.relay.next("SIP/2.0 200");
    await expect(without.session.charge(wine)).rejects.toMatchObject({ status: 481 });
  });
});
