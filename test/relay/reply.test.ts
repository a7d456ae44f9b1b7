import { describe, expect, it } from "vitest";
import { warning } from "../../src/relay/dialog/reply.ts";
import { Headers, SipResponse } from "../../src/sip/message.ts";
import { serialize } from "../../src/sip/serialize.ts";

describe("Warning (RFC 3261 §20.43, §25.1)", () => {
  it.each([
    ['is "twelve"', '"is \\"twelve\\""'],
    ["a\\b", '"a\\\\b"'],
    ["Käse 大", '"Käse 大"'],
    ["a\r\nVia: b\0\u007f\u0085c", '"a Via: b c"'],
    ["\u010d\u010a", '"\u010d\u010a"'],
  ])("quotes a text as it is, in UTF-8: %j", (text, quoted) => {
    const [name, value] = warning(text);
    const written = serialize(new SipResponse(400, "Bad Request", new Headers().add(name, value))).toString("utf8");
    expect(written.split("\r\n")[1]).toBe(`Warning: 399 tollgate ${quoted}`);
  });
});
