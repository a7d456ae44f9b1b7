import { describe, expect, it } from "vitest";
import { hasMagicCookie, mergeKey, serverKey } from "../../src/sip/keys.ts";
import { SipRequest } from "../../src/sip/message.ts";
import { INVITE_LINES, inviteWith, readRequest, wire } from "./messages.ts";

type Changes = Readonly<Record<string, string | undefined>>;
const invite = (changes: Changes = {}) => readRequest(inviteWith(changes));

/** The same with another method. */
function as(method: string, changes: Changes = {}): SipRequest {
  const lines = inviteWith({ CSeq: `2 ${method}`, ...changes })
    .toString("latin1")
    .split("\r\n")
    .slice(1, -2);
  return readRequest(wire([`${method} sip:shop@portal.example.com SIP/2.0`, ...lines]));
}

const legacy = "SIP/2.0/UDP 192.0.2.1:5060;branch=1";

describe("serverKey (RFC 3261 §17.2.3)", () => {
  it("is branch, sent-by and method: nothing else counts", () => {
    expect(serverKey(invite({ "Call-ID": "other", To: "<sip:x@y>;tag=1" }))).toBe(serverKey(invite()));
    expect(serverKey(invite({ Via: "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKother" }))).not.toBe(serverKey(invite()));
    expect(serverKey(invite({ Via: "SIP/2.0/UDP 192.0.2.1:5061;rport;branch=z9hG4bK74bf9" }))).not.toBe(
      serverKey(invite()),
    );
    expect(serverKey(as("OPTIONS"))).not.toBe(serverKey(invite()));
  });

  it("does not mind the case of the host", () => {
    const at = (host: string) => serverKey(invite({ Via: `SIP/2.0/UDP ${host};branch=z9hG4bK1` }));
    expect(at("Client.Example.COM")).toBe(at("client.example.com"));
    expect(at("[2001:DB8:0::1]:5070")).toBe(at("[2001:db8::1]:5070"));
  });

  it.each([undefined, legacy])("of an ACK is that of its INVITE, and a CANCEL finds its INVITE (Via %s)", (via) => {
    const changes = via === undefined ? {} : { Via: via };
    const key = serverKey(invite(changes));
    expect(serverKey(as("ACK", { ...changes, To: "<sip:shop@portal.example.com>;tag=ours" }))).toBe(key);
    expect(serverKey(as("CANCEL", changes))).not.toBe(key);
    expect(serverKey(as("CANCEL", changes), "INVITE")).toBe(key);
  });

  it("without the magic cookie is made of what RFC 2543 compared", () => {
    const key = serverKey(invite({ Via: legacy }));
    expect(serverKey(invite({ Via: legacy }))).toBe(key);
    const others: Changes[] = [
      { Via: legacy, "Call-ID": "other" },
      { Via: legacy, CSeq: "3 INVITE" },
      { Via: legacy, From: "<sip:alice@portal.example.com>;tag=other" },
      { Via: "SIP/2.0/UDP 192.0.2.1:5060;branch=2" },
      { Via: "SIP/2.0/UDP 192.0.2.1:5060" },
    ];
    for (const other of others) expect(serverKey(invite(other))).not.toBe(key);
    expect(
      serverKey(
        readRequest(
          wire(
            ["INVITE sip:other@b SIP/2.0", ...INVITE_LINES.slice(1)].map((l) =>
              l.startsWith("Via") ? `Via: ${legacy}` : l,
            ),
          ),
        ),
      ),
    ).not.toBe(key);
  });

  it("treats the cookie alone as no branch (RFC 4475 §3.2.1)", () => {
    expect(hasMagicCookie(invite({ Via: "SIP/2.0/UDP h;branch=z9hG4bK" }))).toBe(false);
    expect(hasMagicCookie(invite({ Via: "SIP/2.0/UDP h" }))).toBe(false);
    expect(hasMagicCookie(invite())).toBe(true);
  });

  it("does not fail on a message that lacks everything", () => {
    expect(serverKey(new SipRequest("INVITE", "sip:a@b"))).toBeTypeOf("string");
  });
});

describe("mergeKey", () => {
  it("a merged request is known by From tag, Call-ID and CSeq, whatever way it came (§8.2.2.2)", () => {
    expect(mergeKey(invite({ Via: "SIP/2.0/UDP other;branch=z9hG4bKx" }))).toBe(mergeKey(invite()));
    expect(mergeKey(invite({ CSeq: "3 INVITE" }))).not.toBe(mergeKey(invite()));
    expect(mergeKey(as("OPTIONS"))).not.toBe(mergeKey(invite()));
  });
});
