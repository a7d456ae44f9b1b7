import { describe, expect, it } from "vitest";
import { Headers, SipRequest, SipResponse } from "../../src/sip/message.ts";
import { inviteWith, readRequest } from "./messages.ts";

const lines = (headers: Headers): string[] => headers.fields.map(({ name, value }) => `${name}: ${value}`);

describe("Headers (RFC 3261 §7.3)", () => {
  const vias = () => new Headers().add("Via", "1").add("Subject", "x").add("v", "2").add("VIA", "3");

  it("finds fields by lower-case long names, whatever way they were written", () => {
    const headers = vias();
    expect(headers.get("via")).toBe("1");
    expect(headers.all("via")).toEqual(["1", "2", "3"]);
    expect([headers.count("via"), headers.count("route"), headers.count("v")]).toEqual([3, 0, 0]);
    expect([headers.has("subject"), headers.has("Subject"), headers.get("route")]).toEqual([true, false, undefined]);
  });

  it("knows an empty value from a missing field", () => {
    const headers = new Headers().add("Subject", "");
    expect([headers.get("subject"), headers.has("subject")]).toEqual(["", true]);
  });

  it("adds at the end and at the top, as the name is written", () => {
    expect(lines(vias().add("X-oWn", "a").prepend("Via", "0"))).toEqual([
      "Via: 0",
      "Via: 1",
      "Subject: x",
      "v: 2",
      "VIA: 3",
      "X-oWn: a",
    ]);
  });

  it("sets in the place of the first and drops the others", () => {
    expect(lines(vias().set("Via", "new"))).toEqual(["Via: new", "Subject: x"]);
    expect(lines(vias().set("Route", "r")).at(-1)).toBe("Route: r");
  });

  it("removes every field of the name and no other", () => {
    expect(lines(vias().remove("via"))).toEqual(["Subject: x"]);
    expect(lines(vias().remove("route"))).toHaveLength(4);
  });
});

describe("what is read of a message", () => {
  it("is read once, and again after `changed`", () => {
    const request = readRequest(inviteWith({}));
    expect(request.via).toBe(request.via);
    expect(request.contact).toBe(request.contact);
    request.headers.set("Via", "SIP/2.0/TCP other;branch=z9hG4bK9");
    request.headers.set("From", "<sip:x@y>;tag=2");
    request.headers.set("To", "<sip:y@x>;tag=3");
    request.headers.set("CSeq", "9 BYE");
    request.headers.set("Contact", "<sip:c@d>");
    request.changed();
    expect(request.via?.host).toBe("other");
    expect([request.from?.uri, request.fromTag, request.toTag]).toEqual(["sip:x@y", "2", "3"]);
    expect(request.cseq).toEqual({ number: 9, method: "BYE" });
    expect(request.contact?.uri).toBe("sip:c@d");
  });

  it("is the Request-URI of now, also after it was replaced", () => {
    const request = new SipRequest("INVITE", "sip:a@b");
    expect(request.target).toBe(request.target);
    expect(request.target).toMatchObject({ user: "a" });
    request.uri = "tel:+1";
    expect(request.target).toMatchObject({ scheme: "other", name: "tel" });
    request.uri = "nonsense";
    expect(request.target).toBeUndefined();
  });

  it("is nothing where it is not there or cannot be read", () => {
    const headers = new Headers().add("Via", "?").add("From", "<").add("To", "").add("CSeq", "x").add("Contact", "*");
    for (const message of [new SipResponse(200, "OK"), new SipResponse(200, "OK", headers)]) {
      expect([message.via, message.from, message.to, message.cseq, message.contact]).toEqual(Array(5).fill(undefined));
      expect([message.fromTag, message.toTag, message.callId]).toEqual([undefined, undefined, ""]);
    }
  });

  it("is the body that was given, and an empty one where none was", () => {
    expect(new SipRequest("INFO", "sip:a@b").body).toHaveLength(0);
    expect(new SipRequest("INFO", "sip:a@b", undefined, Buffer.from("x")).body.toString()).toBe("x");
  });
});
