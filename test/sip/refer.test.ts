import { describe, expect, it } from "vitest";
import { readFragStatus } from "../../src/sip/frag-status.ts";
import { Headers, SipResponse } from "../../src/sip/message.ts";
import {
  formatReplaces,
  formatTargetDialog,
  parseEvent,
  parseExpires,
  parseReferTo,
  parseReplaces,
  parseTargetDialog,
  wantsSubscription,
} from "../../src/sip/refer.ts";
import { sipfrag } from "../../src/sip/sipfrag.ts";

describe("Refer-To (RFC 3515 §2.1)", () => {
  it("is a URI with the header fields and the body that it carries", () => {
    const read = parseReferTo('"Beer" <sip:beer@portal.com?Subject=dinner%20for%20two&body=%3Cbeer/%3E>;first=keep');
    expect(read.ok && read.value).toMatchObject({
      uri: { user: "beer", host: "portal.com" },
      headers: [["subject", "dinner for two"]],
      body: "<beer/>",
    });
    expect(read.ok && read.value.address.params.get("first")).toBe("keep");
  });

  it("may be an address without brackets", () => {
    const read = parseReferTo("sip:beer@portal.com;first=end");
    expect(read.ok && [read.value.uri.user, read.value.address.params.get("first")]).toEqual(["beer", "end"]);
  });

  it.each(["", "beer", "tel:+123", "<sip:beer@portal.com>, <sip:wine@portal.com>", "sip:beer@portal.com?Subject=x"])(
    "is refused: %s",
    (text) => {
      expect(parseReferTo(text).ok).toBe(false);
    },
  );
});

it("Refer-Sub false means no subscription, everything else the default (RFC 4488 §4)", () => {
  expect([undefined, "true", "FALSE ;x", " false", "falsehood"].map(wantsSubscription)).toEqual([
    true,
    true,
    false,
    false,
    true,
  ]);
});

describe("Replaces and Target-Dialog", () => {
  it("name a dialog from the receiver's side and from the sender's (RFC 3891 §6.1, RFC 4538 §7)", () => {
    const dialog = { callId: "98732@a.example", receiverTag: "r33", senderTag: "ff8" };
    const replaces = parseReplaces("98732@a.example ;from-tag=ff8 ;to-tag=r33;early-only");
    expect(replaces.ok && replaces.value).toEqual({ ...dialog, earlyOnly: true });
    const target = parseTargetDialog("98732@a.example; local-tag=ff8 ;remote-tag=r33");
    expect(target.ok && target.value).toEqual(dialog);
    expect(parseReplaces(formatReplaces(dialog))).toEqual({ ok: true, value: { ...dialog, earlyOnly: false } });
    expect(parseTargetDialog(formatTargetDialog(dialog))).toEqual({ ok: true, value: dialog });
  });

  it.each(["", "a", ";to-tag=1;from-tag=2", "a;to-tag=1", "a;to-tag=1;to-tag=2;from-tag=3", "a,b;to-tag=1;from-tag=2"])(
    "are refused: %s",
    (text) => {
      expect(parseReplaces(text).ok).toBe(false);
      expect(parseTargetDialog(text.replaceAll("to-", "local-").replace("from-", "remote-")).ok).toBe(false);
    },
  );
});

it("Event is a package and an id (RFC 6665 §8.2.1), Expires a number of seconds", () => {
  expect(parseEvent("Refer ; id=93809824")).toEqual({ ok: true, value: { name: "refer", id: "93809824" } });
  expect(parseEvent("presence")).toEqual({ ok: true, value: { name: "presence", id: undefined } });
  expect(parseEvent("a b").ok).toBe(false);
  expect([undefined, "60", "x", "99999999999"].map(parseExpires)).toEqual([undefined, 60, undefined, undefined]);
});

describe("a fragment (RFC 3420)", () => {
  it("is a status line, the chosen header fields, and the body", () => {
    const headers = new Headers().add("Content-Type", "text/plain").add("Via", "secret");
    const response = new SipResponse(200, "OK", headers, Buffer.from("come in"));
    const written = sipfrag(response, ({ key }) => key === "content-type").toString();
    expect(written).toBe("SIP/2.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 7\r\n\r\ncome in");
    expect(readFragStatus(written)).toEqual({ ok: true, value: { status: 200, reason: "OK" } });
    expect(sipfrag(new SipResponse(100, "Trying"), () => true).toString()).toBe("SIP/2.0 100 Trying\r\n");
  });

  it("has no line that was not put there, also of characters that are no octets", () => {
    const evil = "a\r\nVia: x\u010d\u010aVia: y";
    const response = new SipResponse(200, evil, new Headers().add("Subject", evil).add(`To: ${evil}`, "x"));
    const lines = sipfrag(response, () => true)
      .toString("latin1")
      .split(/[\r\n]+/);
    expect(lines).toHaveLength(4);
    for (const line of lines) expect(line).not.toMatch(/^(Via|To)/);
  });

  it.each(["", "SIP/2.0 OK", "200 OK", "SIP/2.0 700 Odd"])("is refused: %s", (text) => {
    expect(readFragStatus(text).ok).toBe(false);
  });
});
