import { describe, expect, it } from "vitest";
import { asReasonPhrase, reasonPhrase, responseTo } from "../../src/sip/response.ts";
import { inviteWith, readRequest } from "./messages.ts";

const invite = (changes: Readonly<Record<string, string | undefined>> = {}) =>
  readRequest(
    inviteWith({
      Via: "SIP/2.0/UDP one;branch=z9hG4bK1, SIP/2.0/UDP two;branch=z9hG4bK2",
      Timestamp: "54",
      ...changes,
    }),
  );

describe("a Reason-Phrase (RFC 3261 §25.1)", () => {
  it.each([
    ["Not Today", "Not Today"],
    ["<img src=x onerror=alert(1)>", "?img src=x onerror=alert(1)?"],
    ['say "no"', "say 'no'"],
    ["100 % sold out", "100 ? sold out"],
    ["sold%20out", "sold%20out"],
    ["{a}|[b]\\^`#", "?a???b?????"],
    ["d\xc3\xa9j\xc3\xa0 vu", "d\xc3\xa9j\xc3\xa0 vu"],
    ["a\u0000b", "a?b"],
    ["", ""],
  ])("of the text %j", (text, phrase) => expect(asReasonPhrase(text)).toBe(phrase));
});

describe("responseTo (RFC 3261 §8.2.6)", () => {
  it("takes over every Via in order, From, To, Call-ID and CSeq, and nothing else", () => {
    const request = invite();
    const response = responseTo(request, 180);
    expect([response.status, response.reason]).toEqual([180, "Ringing"]);
    expect(response.headers.fields).toEqual(
      request.headers.fields.filter(({ key }) => ["via", "from", "to", "call-id", "cseq"].includes(key)),
    );
    expect(response.headers.all("via")).toEqual(["SIP/2.0/UDP one;branch=z9hG4bK1", "SIP/2.0/UDP two;branch=z9hG4bK2"]);
  });

  it("gives the To a tag where it has none, and leaves the one that it has", () => {
    expect(responseTo(invite(), 200, "Fine", "t1").toTag).toBe("t1");
    expect(responseTo(invite({ To: "<sip:a@b>;tag=old" }), 200, undefined, "t1").toTag).toBe("old");
    expect(responseTo(invite(), 200).toTag).toBeUndefined();
    const request = invite();
    responseTo(request, 200, undefined, "t1");
    expect(request.toTag).toBeUndefined();
  });

  it("takes the Timestamp into a 100 only (§8.2.6.1)", () => {
    expect(responseTo(invite(), 100).headers.get("timestamp")).toBe("54");
    expect(responseTo(invite(), 180).headers.has("timestamp")).toBe(false);
  });

  it("adds further header fields", () => {
    expect(responseTo(invite(), 503, undefined, undefined, [["Retry-After", "5"]]).headers.get("retry-after")).toBe(
      "5",
    );
  });
});

describe("reasonPhrase (RFC 3261 §21)", () => {
  it("knows the codes, and for others their class", () => {
    expect([100, 200, 487, 503, 606].map(reasonPhrase)).toEqual([
      "Trying",
      "OK",
      "Request Terminated",
      "Service Unavailable",
      "Not Acceptable",
    ]);
    expect([299, 499, 999].map(reasonPhrase)).toEqual(["OK", "Request Failure", "Unknown"]);
  });
});
