import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Client } from "../../src/sdk/client-api.ts";
import { createClient } from "../../src/sdk/node-client.ts";
import { bodyOf, FakeRelay, header, type Peer } from "./peer.ts";

let relay: FakeRelay;
let client: Client;

beforeEach(async () => {
  relay = await FakeRelay.listen();
  client = createClient({ relay: relay.uri, user: "alice", password: "wonder", domain: "portal.com" });
});

afterEach(async () => {
  relay.close();
  await client.close();
});

const contact = () => `Contact: <sip:relay@127.0.0.1:${relay.port};transport=tcp>`;
const ACCESS = ["Content-Type: application/vnd.tollgate.access+json"];

/** A session that stands, from both ends. */
async function established(more: readonly string[] = ACCESS, body = '{"url":"http://shop/"}') {
  const requested = client.request("wine");
  const peer = await relay.peer();
  const invite = await peer.next("INVITE");
  peer.answer(invite, "200 OK", [contact(), ...more], body);
  const session = await requested;
  const ack = await peer.next("ACK");
  return { peer, invite, ack, session };
}

/** A request within the session, sent by the relay. */
function within(peer: Peer, method: string, invite: string, more: readonly string[] = [], body = "") {
  const uri = /<([^>]+)>/.exec(header(invite, "contact")!)![1];
  peer.send(
    [
      `${method} ${uri} SIP/2.0`,
      `Via: SIP/2.0/TCP 127.0.0.1:${relay.port};branch=z9hG4bK${method}`,
      "Max-Forwards: 70",
      `From: ${header(invite, "to")};tag=relay`,
      `To: ${header(invite, "from")}`,
      `Call-ID: ${header(invite, "call-id")}`,
      `CSeq: 1 ${method}`,
      ...more,
    ],
    body,
  );
}

describe("asking for a service", () => {
  it("names the service in the Request-URI and carries the description as its body (M1)", async () => {
    const requested = client.request("wine", { description: "<wine>größer</wine>", headers: { Subject: "dinner" } });
    const peer = await relay.peer();
    const invite = await peer.next("INVITE sip:wine@portal.com SIP/2.0\r\n");
    expect(header(invite, "from")).toMatch(/^<sip:alice@portal\.com>;tag=\w+$/);
    expect(header(invite, "to")).toBe("<sip:wine@portal.com>");
    expect(header(invite, "contact")).toBe(`<sip:alice@127.0.0.1:${peerPort(invite)};transport=tcp>`);
    expect(header(invite, "content-type")).toBe("application/vnd.tollgate.service+xml");
    expect(header(invite, "content-disposition")).toBe("session");
    expect(header(invite, "subject")).toBe("dinner");
    expect(bodyOf(invite)).toBe("<wine>größer</wine>");
    peer.answer(invite, "486 Busy Here", [contact()]);
    await expect(requested).rejects.toMatchObject({ status: 486 });
  });

  it("hands over the URL in the body of the answer, and sends ACK (M6, M7)", async () => {
    const { session, ack } = await established();
    expect(session.access).toBe("http://shop/");
    expect(session.answer).toMatchObject({ contentType: ACCESS[0]!.slice(14), content: '{"url":"http://shop/"}' });
    expect(ack).toMatch(/^ACK sip:relay@127\.0\.0\.1:\d+;transport=tcp SIP\/2\.0/);
  });

  it.each([
    ["none at all", [], "", undefined],
    ["another type", ["Content-Type: text/plain"], "come in", { content: "come in", contentType: "text/plain" }],
    ["broken JSON", ACCESS, "{", { content: "{" }],
    ["SDP", ["Content-Type: application/sdp"], "v=0\r\n", { contentType: "application/sdp" }],
  ])("takes a success whose body is %s", async (_what, headers, body, expected) => {
    const { session } = await established(headers, body);
    expect(session.access).toBeUndefined();
    if (expected) expect(session.answer).toMatchObject(expected);
    else expect(session.answer).toBeUndefined();
  });

  it("tells of provisional answers", async () => {
    const told: number[] = [];
    const requested = client.request("wine", { onProgress: (status) => told.push(status) });
    const peer = await relay.peer();
    const invite = await peer.next("INVITE");
    peer.answer(invite, "100 Trying");
    peer.answer(invite, "180 Ringing", [contact()]);
    peer.answer(invite, "200 OK", [contact()]);
    await requested;
    expect(told).toEqual([180]);
  });

  it("rejects with the status and the explanation of a refusal, and acknowledges it", async () => {
    const requested = client.request("wine");
    const peer = await relay.peer();
    const invite = await peer.next("INVITE");
    peer.answer(invite, "403 Not Today", ["Content-Type: text/plain"], "no credit left");
    await expect(requested).rejects.toMatchObject({
      name: "SipError",
      status: 403,
      reason: "Not Today",
      detail: "no credit left",
    });
    await peer.next("ACK");
  });

  it("rejects with 503 where no relay is there, and says which", async () => {
    relay.server.close();
    await expect(client.request("wine")).rejects.toThrow(/503 .*cannot connect to 127\.0\.0\.1:\d+: .*ECONNREFUSED/);
  });

  it("rejects with 503 where the connection breaks before the answer, and connects anew for the next request", async () => {
    const requested = client.request("wine");
    const first = await relay.peer();
    await first.next("INVITE");
    first.destroy();
    await expect(requested).rejects.toMatchObject({ status: 503 });
    const again = client.request("wine");
    const second = await relay.peer();
    second.answer(await second.next("INVITE"), "200 OK", [contact()]);
    await again;
  });

  it.each([
    ["sip:127.0.0.1;transport=ws", /transport=tcp/],
    ["sip:127.0.0.1;transport=udp", /transport=tcp/],
    ["127.0.0.1", /not a SIP URI/],
  ])("refuses %s as a relay at once", (uri, message) => {
    expect(() => createClient({ relay: uri, user: "a", password: "b" })).toThrow(message);
  });

  it("refuses a header of two lines", async () => {
    const requested = client.request("wine", { headers: { Subject: "a\r\nX: b" } });
    await expect(requested).rejects.toThrow(/one line/);
  });
});

/** Contact must lead back by the same connection: its port is the client's own. */
const peerPort = (invite: string) => /TCP 127\.0\.0\.1:(\d+);/.exec(header(invite, "via")!)![1];

describe("signing in (M2)", () => {
  const challenge = (algorithm: string) =>
    `WWW-Authenticate: Digest realm="portal.com", nonce="n", algorithm=${algorithm}, qop="auth"`;

  it.each([
    ["SHA-256 where both are offered", ["SHA-256", "MD5"], "SHA-256"],
    ["MD5 where it is the only one", ["MD5"], "MD5"],
  ])("answers with %s", async (_what, offered, used) => {
    const requested = client.request("wine");
    const peer = await relay.peer();
    const first = await peer.next("INVITE");
    peer.answer(first, "401 Unauthorized", offered.map(challenge));
    await peer.next("ACK");
    const second = await peer.next("INVITE");
    expect(header(second, "authorization")).toMatch(new RegExp(`username="alice".*algorithm=${used},.*nc=00000001`));
    expect(header(second, "call-id")).toBe(header(first, "call-id"));
    expect(header(second, "cseq")).toBe("2 INVITE");
    peer.answer(second, "200 OK", [contact()]);
    await requested;
  });

  it("gives up with 401 when the password is refused", async () => {
    const requested = client.request("wine");
    const peer = await relay.peer();
    peer.answer(await peer.next("INVITE"), "401 Unauthorized", [challenge("MD5")]);
    await peer.next("ACK");
    peer.answer(await peer.next("INVITE"), "401 Unauthorized", [challenge("MD5")]);
    await expect(requested).rejects.toMatchObject({ status: 401 });
  });
});

describe("giving a request up", () => {
  it("sends CANCEL and rejects with 487 (RFC 3261 §9.1)", async () => {
    const giveUp = new AbortController();
    const requested = client.request("wine", { signal: giveUp.signal, onProgress: () => giveUp.abort() });
    const peer = await relay.peer();
    const invite = await peer.next("INVITE");
    peer.answer(invite, "180 Ringing", [contact()]);
    const cancel = await peer.next("CANCEL");
    expect(header(cancel, "via")).toBe(header(invite, "via"));
    peer.answer(cancel, "200 OK");
    peer.answer(invite, "487 Request Terminated");
    await expect(requested).rejects.toMatchObject({ status: 487 });
  });

  it("hangs up a session whose answer crossed the CANCEL (RFC 3261 §9.1)", async () => {
    const giveUp = new AbortController();
    const requested = client.request("wine", { signal: giveUp.signal, onProgress: () => giveUp.abort() });
    requested.catch(() => {});
    const peer = await relay.peer();
    const invite = await peer.next("INVITE");
    peer.answer(invite, "180 Ringing", [contact()]);
    peer.answer(await peer.next("CANCEL"), "200 OK");
    peer.answer(invite, "200 OK", [contact()]);
    await peer.next("ACK");
    peer.answer(await peer.next("BYE"), "200 OK");
    await expect(requested).rejects.toMatchObject({ status: 487 });
  });
});

describe("the end of a session", () => {
  it("resolves end() when the 200 to BYE is there (M11)", async () => {
    const { peer, session } = await established();
    const ending = session.end();
    const bye = await peer.next("BYE");
    let over = false;
    void session.ended.then(() => {
      over = true;
    });
    await new Promise(setImmediate);
    expect(over).toBe(false);
    peer.answer(bye, "200 OK", ["Content-Type: text/plain"], "come again");
    const expected = { by: "local", status: 200, body: { contentType: "text/plain", content: "come again" } };
    expect(await ending).toEqual(expected);
    expect(await session.ended).toEqual(expected);
    expect(await session.end()).toEqual(expected);
  });

  it("counts a session as ended whatever the answer to BYE is (RFC 3261 §15.1.1)", async () => {
    const { peer, session } = await established();
    const ending = session.end();
    peer.answer(await peer.next("BYE"), "481 Call/Transaction Does Not Exist");
    expect(await ending).toEqual({ by: "local", status: 481 });
  });

  it("answers the other side's BYE with 200 and says why it ended (M11, RFC 3326)", async () => {
    const { peer, invite, session } = await established();
    within(peer, "BYE", invite, ['Reason: SIP;cause=200;text="lesson over"']);
    await peer.next("SIP/2.0 200");
    expect(await session.ended).toEqual({ by: "remote", reason: 'SIP;cause=200;text="lesson over"' });
  });

  it("comes back when the connection is lost: the session goes on by another one (RFC 5626 §4.5)", async () => {
    const { peer, invite, session } = await established();
    peer.destroy();
    const again = await relay.peer();
    const hello = await again.next("OPTIONS");
    expect([header(hello, "call-id"), header(hello, "to")]).toEqual([
      header(invite, "call-id"),
      `${header(invite, "to")};tag=relay`,
    ]);
    again.answer(hello, "200 OK");
    const ending = session.end();
    again.answer(await again.next("BYE"), "200 OK");
    expect(await ending).toMatchObject({ by: "local", status: 200 });
  });

  it("hangs up again by another connection where the first one was lost before the answer came", async () => {
    const { peer, session } = await established();
    const ending = session.end();
    const first = await peer.next("BYE");
    peer.destroy();
    const again = await relay.peer();
    const second = await again.next("BYE");
    expect(header(second, "call-id")).toBe(header(first, "call-id"));
    expect(Number.parseInt(header(second, "cseq")!, 10)).toBeGreaterThan(Number.parseInt(header(first, "cseq")!, 10));
    again.answer(second, "200 OK");
    expect(await ending).toMatchObject({ by: "local", status: 200 });
  });

  it("ends the session that the relay does not know any more when the client comes back", async () => {
    const { peer, session } = await established();
    peer.destroy();
    const again = await relay.peer();
    again.answer(await again.next("OPTIONS"), "481 Call/Transaction Does Not Exist");
    expect(await session.ended).toMatchObject({ by: "connection" });
  });

  it("comes back by the next node where the first is gone", async () => {
    const other = await FakeRelay.listen();
    await client.close();
    client = createClient({ relay: [relay.uri, other.uri], user: "alice", password: "wonder", domain: "portal.com" });
    const { session } = await established();
    relay.close();
    const again = await other.peer();
    again.answer(await again.next("OPTIONS"), "200 OK");
    const ending = session.end();
    again.answer(await again.next("BYE"), "200 OK");
    expect(await ending).toMatchObject({ by: "local", status: 200 });
    await client.close();
    other.close();
  });

  it("ends the session when the connection is lost, if it is not to come back", async () => {
    await client.close();
    client = createClient({ relay: relay.uri, user: "alice", password: "wonder", domain: "portal.com", reconnectS: 0 });
    const { peer, session } = await established();
    peer.destroy();
    expect(await session.ended).toMatchObject({ by: "connection" });
    expect(await session.end()).toMatchObject({ by: "connection" });
  });

  it("hangs up every session when the client is closed", async () => {
    const { peer, session } = await established();
    const closing = client.close();
    peer.answer(await peer.next("BYE"), "200 OK");
    await closing;
    expect(await session.ended).toMatchObject({ by: "local", status: 200 });
    await peer.closed();
    await expect(client.request("wine")).rejects.toMatchObject({ status: 503 });
  });

  it("hangs up a second branch that answers too, until it can hold several (RFC 3261 §13.2.2.4)", async () => {
    const { peer, invite } = await established();
    peer.answer(invite.replace(/\r\nTo: ([^\r]*)/, "\r\nTo: $1;tag=second"), "200 OK", [contact()]);
    expect(header(await peer.next("ACK"), "to")).toMatch(/tag=second/);
    expect(header(await peer.next("BYE"), "to")).toMatch(/tag=second/);
  });
});

describe("what the client does not know", () => {
  it("refuses an INFO of a package that it did not offer with 469 (RFC 6086 §4.2.2)", async () => {
    const { peer, invite } = await established();
    within(peer, "INFO", invite, ["Info-Package: weather"]);
    await peer.next("SIP/2.0 469");
  });

  it("survives bytes that are no SIP and goes on with the next message", async () => {
    const { peer, invite, session } = await established();
    peer.raw("nonsense\r\nContent-Length: 2\r\n\r\nxx");
    peer.raw("SIP/2.0 200 OK\r\nCSeq: x\r\nContent-Length: 0\r\n\r\n");
    within(peer, "BYE", invite);
    await peer.next("SIP/2.0 200");
    await session.ended;
  });
});
