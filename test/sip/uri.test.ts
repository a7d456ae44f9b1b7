import { describe, expect, it } from "vitest";
import {
  escapeUser,
  formatUri,
  hasLooseRouting,
  parseHostPort,
  parseUri,
  unescape as resolve,
  type SipUri,
  sipUriOf,
  targetHost,
  telephoneNumber,
  transportOf,
  type Uri,
  unescapeUser,
  uriHeaders,
  uriOf,
} from "../../src/sip/uri.ts";

function uri(text: string): Uri {
  const read = parseUri(text);
  if (!read.ok) throw new Error(`${text}: ${read.error}`);
  return read.value;
}

const sip = (text: string): SipUri => sipUriOf(text)!;

describe("URIs that are read again and again", () => {
  it("are what their own text says, though others of the same length are read between", () => {
    const texts = ["sip:alice@a.example", "sip:carol@b.example", "tel:+4930123456789", "sip:@", "sip:bobby@c.example"];
    const read = () => texts.map((text) => ({ sip: sipUriOf(text)?.user, uri: uriOf(text)?.scheme }));
    const first = read();
    expect(first.map(({ sip: user }) => user)).toEqual(["alice", "carol", undefined, undefined, "bobby"]);
    expect(first.map(({ uri }) => uri)).toEqual(["sip", "sip", "other", undefined, "sip"]);
    expect(read()).toEqual(first);
  });
});

describe("parseUri (RFC 3261 §19.1.1)", () => {
  it.each([
    ["sip:example.com", { scheme: "sip", host: "example.com" }],
    ["SIPS:alice@Example.com:5061", { scheme: "sips", user: "alice", host: "Example.com", port: 5061 }],
    ["sip:alice:secret@example.com", { user: "alice", password: "secret", host: "example.com" }],
    ["sip:alice:@example.com", { user: "alice", password: "" }],
    ["sip:[2001:db8::10]:5070", { host: "[2001:db8::10]", port: 5070 }],
    ["sip:[2001:db8::10:5070]", { host: "[2001:db8::10:5070]" }],
    ["sip:user@[2001:db8:::192.0.2.1]", { host: "[2001:db8:::192.0.2.1]" }],
    ["sip:user;par=u%40example.net@example.com", { user: "user;par=u%40example.net", host: "example.com" }],
    [
      "sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com",
      {
        user: "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*",
        password: "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)",
      },
    ],
    ["sip:a@b?Route=%3Csip:x%3E&b=c", { headers: "Route=%3Csip:x%3E&b=c" }],
    ["tel:+1-201-555-0123;ext=1", { scheme: "other", name: "tel", rest: "+1-201-555-0123;ext=1" }],
    ["soap.beep://192.0.2.103:3002", { scheme: "other", name: "soap.beep" }],
  ])("reads %s", (text, expected) => {
    expect(uri(text)).toMatchObject(expected);
  });

  it("reads parameters by lower-case names without escapes; values stay as written", () => {
    expect([...sip("sip:a@b;Transport=TCP;lr;%6C%72x=%41;maddr=239.255.255.1").params]).toEqual([
      ["transport", "TCP"],
      ["lr", ""],
      ["lrx", "%41"],
      ["maddr", "239.255.255.1"],
    ]);
  });

  it("takes no longer for parameters without a value, of which each could be searched to the end for one", () => {
    const tookMs = (value: string): number => {
      const text = `sip:h${Array.from({ length: 200_000 }, (_, i) => `;${i.toString(36)}${value}`).join("")}`;
      const start = performance.now();
      expect(sip(text).params.size).toBe(200_000);
      return performance.now() - start;
    };
    const withValuesMs = tookMs("=1");
    // Ten times as long, where each is.
    expect(tookMs("")).toBeLessThan(4 * withValuesMs);
  });

  it("reads parameters with and without a value side by side", () => {
    expect([...sip("sip:h;a;b=1;c;d=2;e?x=y").params]).toEqual([
      ["a", ""],
      ["b", "1"],
      ["c", ""],
      ["d", "2"],
      ["e", ""],
    ]);
  });

  it.each([
    "",
    "sip",
    "sip:",
    ":a",
    "sip:@b",
    "sip:a@",
    "sip:a@b@c",
    "sip:a b@c",
    "sip:a@b c",
    "<sip:a@b>",
    "sip:a@b:",
    "sip:a@b:0",
    "sip:a@b:65536",
    "sip:a@b:x",
    "sip:a@b;",
    "sip:a@b;;lr",
    "sip:a@b;lr;LR",
    "sip:2001:db8::10",
    "sip:[2001:db8::10",
    "sip:[]",
    "sip:a@b/c",
    "sip:%zz@b",
    "sip::x@b",
    "1 x:y",
    "t?l:1",
    "tel:",
    "sip:a@b\u0000",
    "sip:a@b\r\n",
  ])("refuses %j", (text) => {
    expect(parseUri(text).ok).toBe(false);
  });

  it("and formatUri are each other's reverse", () => {
    for (const text of [
      "sip:example.com",
      "sips:alice:x@Example.com:5061;transport=tcp;lr?a=b&c=d",
      "sip:[::1]:5060",
      "sip:%41@b;a%20b=c",
      "tel:+1",
    ])
      expect(formatUri(uri(text))).toBe(text);
  });

  it("reads host and port alone", () => {
    expect(parseHostPort("[::1]:5060")).toEqual({ ok: true, value: { host: "[::1]", port: 5060 } });
    expect(parseHostPort("h")).toEqual({ ok: true, value: { host: "h" } });
    for (const text of ["", ":1", "h:", "h:0", "h:x", "::1", "h:1 "]) expect(parseHostPort(text).ok).toBe(false);
  });
});

describe("escapes (RFC 3261 §19.1.2)", () => {
  it("are resolved once, never again in what comes out (RFC 4475 §3.1.1.3)", () => {
    expect(resolve("v%61lue%25%34%31")).toBe("value%41");
    expect(resolve("%00a%")).toBe("\u0000a%");
    expect(resolve("%zz%4")).toBe("%zz%4");
    expect(unescapeUser(sip("sip:sips%3Auser%40example.com@example.net"))).toBe("sips:user@example.com");
    expect(unescapeUser(sip("sip:example.net"))).toBeUndefined();
  });

  it("keep a user name whole, whatever it holds", () => {
    expect(escapeUser("alice")).toBe("alice");
    expect(escapeUser("a b@c%:ü")).toBe("a%20b%40c%25%3A%C3%BC");
  });

  it("are resolved in the header fields of a URI", () => {
    expect(uriHeaders(sip("sip:a@b?Route=%3Csip:x%3E&Body"))).toEqual([
      ["body", ""],
      ["route", "<sip:x>"],
    ]);
    expect(uriHeaders(sip("sip:a@b"))).toEqual([]);
  });
});

describe("what a URI says of the way", () => {
  it("lr", () => {
    expect(hasLooseRouting("sip:p1.example.com;lr")).toBe(true);
    expect(hasLooseRouting("sip:p1.example.com;lr=on")).toBe(true);
    expect(hasLooseRouting("sip:p1.example.com")).toBe(false);
    expect(hasLooseRouting(sip("sip:p1;LR"))).toBe(true);
    expect(hasLooseRouting("nonsense")).toBe(false);
  });

  it("transport and maddr", () => {
    expect(transportOf(sip("sip:a;transport=TCP"))).toBe("tcp");
    expect(transportOf(sip("sip:a;transport"))).toBeUndefined();
    expect(targetHost(sip("sip:a@b;maddr=192.0.2.1"))).toBe("192.0.2.1");
    expect(targetHost(sip("sip:a@b"))).toBe("b");
  });

  it("a telephone number (RFC 3966)", () => {
    expect(telephoneNumber(uri("tel:+1-(201)-555.0123;ext=1"))).toBe("+12015550123");
    expect(telephoneNumber(uri("sip:+1-201@gw;user=phone"))).toBe("+1201");
    expect(telephoneNumber(uri("sip:alice@gw"))).toBeUndefined();
    expect(telephoneNumber(uri("tel:alice"))).toBeUndefined();
  });
});
