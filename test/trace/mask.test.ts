import { describe, expect, it } from "vitest";
import { masked } from "../../src/trace/mask.ts";

const message = (lines: string[], body = "") =>
  Buffer.from([...lines, `Content-Length: ${Buffer.byteLength(body)}`, "", body].join("\r\n"), "latin1");

describe("secrets in what is shown of messages (P5)", () => {
  it.each([
    [
      "the response of a digest",
      'Authorization: Digest username="alice", realm="r", nonce="n1", response="5ec7e7", cnonce="c1"',
      "5ec7e7",
    ],
    ["one that is folded", 'Authorization: Digest username="alice",\r\n response="5ec7e7"', "5ec7e7"],
    ["one for a proxy", 'Proxy-Authorization: Digest response="5ec7e7"', "5ec7e7"],
    ["other credentials", "Authorization: Basic 5ec7e7", "5ec7e7"],
    ["a proof", "Identity: eyJh.5ec7e7.sig;info=<https://x>", "5ec7e7"],
    ["a password in From", "From: <sip:alice:5ec7e7@portal.example>;tag=1", "5ec7e7"],
    ["a password in a URL", "Call-Info: <https://bob:5ec7e7@shop.example/>", "5ec7e7"],
    ["a key in a URL", "Call-Info: <https://shop.example/?a=1&token=5ec7e7&b=2>", "5ec7e7"],
    ["a key in a parameter", "Contact: <sip:a@h;access_token=5ec7e7>", "5ec7e7"],
  ])("%s is left out of a header field", (_, field, secret) => {
    const text = masked(message(["INVITE sip:wine@portal.example SIP/2.0", field, "To: <sip:wine@portal.example>"]));
    expect(text).not.toContain(secret);
    expect(text).toContain("***");
    expect(text).toContain("To: <sip:wine@portal.example>");
  });

  it.each([
    ["JSON", '{"url":"https://a:5ec7e7@shop/?token=5ec7e7&x=1","password":"5ec7e7","item":"Riesling"}'],
    ["XML", '<a url="https://shop/?sid=5ec7e7" key="5ec7e7"/>'],
    ["SDP", "v=0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:5ec7e7|2^20\r\nm=audio 1 RTP/AVP 0\r\n"],
  ])("keys in a body of %s are hidden, and its length stays", (_, body) => {
    const text = masked(message(["SIP/2.0 200 OK", "Call-ID: 1"], body));
    expect(text).not.toContain("5ec7e7");
    expect(text.split("\r\n\r\n").slice(1).join("\r\n\r\n")).toHaveLength(body.length);
  });

  it("leaves everything else as it is", () => {
    const bytes = message(
      ["BYE sip:a@h:5060 SIP/2.0", "Via: SIP/2.0/UDP h:5060;branch=z9hG4bK1", "From: <sip:a@h>;tag=2"],
      "v=0\r\n",
    );
    expect(masked(bytes)).toBe(bytes.toString("latin1"));
  });

  it("takes no long time over hostile text", () => {
    const long = `From: ${"<sip:a:".repeat(8_000)}`;
    const began = performance.now();
    masked(message([`OPTIONS sip:${"a:".repeat(10_000)} SIP/2.0`, long], `"token":"${"\\\\".repeat(10_000)}`));
    expect(performance.now() - began).toBeLessThan(2_000);
  });
});
