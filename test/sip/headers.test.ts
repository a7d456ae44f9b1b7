import { describe, expect, it } from "vitest";
import {
  formatNameAddr,
  formatParams,
  formatReason,
  formatVia,
  Params,
  parseAuthParams,
  parseContentType,
  parseCSeq,
  parseMaxForwards,
  parseNameAddr,
  parseOneNameAddr,
  parseParams,
  parseVia,
  quote,
  splitList,
  tokenList,
  unquote,
  withTag,
} from "../../src/sip/headers.ts";
import { headerKey, knownHeader } from "../../src/sip/names.ts";
import type { Result } from "../../src/support/result.ts";

function value<T>(result: Result<T, string>): T {
  if (!result.ok) throw new Error(result.error);
  return result.value;
}

describe("Via (RFC 3261 §20.42)", () => {
  it.each([
    ["SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1;rport", { transport: "UDP", host: "192.0.2.1", port: 5060 }],
    ["SIP  /   2.0 /UDP    192.0.2.2;branch=z9hG4bK1;rport", { transport: "UDP", host: "192.0.2.2", port: undefined }],
    [
      "SIP / 2.0 / TCP     spindle.example.com  : 5061  ;  branch  =   z9hG4bK1 ; rport",
      { host: "spindle.example.com", port: 5061 },
    ],
    [
      "SIP/2.0/SCTP [2001:db8::9:1]:6050;branch=z9hG4bK1;rport , SIP/2.0/UDP x",
      { transport: "SCTP", host: "[2001:db8::9:1]", port: 6050 },
    ],
    ["SIP/7.0/UDP h;BRANCH=z9hG4bK1;Rport", { protocol: "SIP/7.0", host: "h" }],
    ["sip/2.0/udp h;branch=z9hG4bK1;rport", { transport: "udp" }],
  ])("is read: %s", (text, expected) => {
    const via = value(parseVia(text));
    expect(via).toMatchObject(expected);
    expect([...via.params]).toEqual([
      ["branch", "z9hG4bK1"],
      ["rport", ""],
    ]);
  });

  it("takes received with and without brackets (RFC 5118 §4.5)", () => {
    expect(value(parseVia("SIP/2.0/UDP h;received=2001:db8::9:255")).params.get("received")).toBe("2001:db8::9:255");
    expect(value(parseVia("SIP/2.0/UDP h;received=[2001:db8::9:255]")).params.get("received")).toBe(
      "[2001:db8::9:255]",
    );
  });

  it.each([
    "",
    "UDP h",
    "SIP/2.0 h",
    "SIP/2.0/UDP",
    "SIP/2.0/UDP ",
    "SIP/2.0/UDP:h",
    "SIP/2.0/UDP h i",
    "SIP/2.0/UDP h:x",
    "SIP/2.0/UDP h:65536",
    "SIP/2.0/UDP [::1",
    "SIP/2.0/UDP h;=x",
    "SIP/2.0/UDP h;;",
    "SIP/2.0/UDP h;a=1;A=2",
    'SIP/2.0/UDP h;a="',
  ])("is refused: %j", (text) => {
    expect(parseVia(text).ok).toBe(false);
  });

  it("is written as it was read", () => {
    for (const text of ["SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1;rport", 'SIP/7.0/TCP [::1];x="a b"'])
      expect(formatVia(value(parseVia(text)))).toBe(text);
  });
});

describe("name-addr (RFC 3261 §20.10)", () => {
  it.each([
    ["sip:a@b", { uri: "sip:a@b" }],
    ["sip:a@b;tag=1", { uri: "sip:a@b" }],
    ["<sip:a@b;lr>;tag=1", { uri: "sip:a@b;lr" }],
    ['"A. \\"B\\" C" <sip:a@b>', { display: 'A. "B" C', uri: "sip:a@b" }],
    ['"<sip:x@y>"<sip:a@b>', { display: "<sip:x@y>", uri: "sip:a@b" }],
    ["token1~` token2'+_ token3*%!.- <sip:a@b>", { display: "token1~` token2'+_ token3*%!.-", uri: "sip:a@b" }],
    ["caller<sip:a@b>", { display: "caller", uri: "sip:a@b" }],
    ["J\u00c3\u00bcrgen @work <sip:a@b>", { display: "J\u00c3\u00bcrgen @work", uri: "sip:a@b" }],
    ["  <tel:+1555>  ", { uri: "tel:+1555" }],
    ['sip:a@b;x="<c>"', { uri: "sip:a@b" }],
    ["<sip:a@b>, <sip:c@d>", { uri: "sip:a@b" }],
    ["sip:a@b, sip:c@d", { uri: "sip:a@b" }],
    ["sip:a@b, <sip:c@d>", { uri: "sip:a@b" }],
    ['sip:a@b;x=y , "C" <sip:c@d>;q=1', { uri: "sip:a@b" }],
    ["sip:a@b;x=y,C <sip:c@d>", { uri: "sip:a@b" }],
  ])("is read: %s", (text, expected) => {
    const address = value(parseNameAddr(text));
    expect({ display: address.display, uri: address.uri }).toEqual({ display: undefined, ...expected });
  });

  it("without brackets gives all parameters to the header field", () => {
    expect([...value(parseNameAddr('sip:a@b;user=phone;X="a;b\\"c" ; flag')).params]).toEqual([
      ["user", "phone"],
      ["x", 'a;b"c'],
      ["flag", ""],
    ]);
  });

  it.each([
    "",
    "a@b",
    "<>",
    "<a>",
    "<sip:a@b",
    "sip:",
    "< sip:a@b>",
    "<sip:a b>",
    '"A <sip:a@b>',
    '"A" sip:a@b',
    "A, B <sip:a@b>",
    "A; B <sip:a@b>",
    "<sip:a@b> x",
    "sip:a@b?x=y",
    "<sip:a@b>;",
    "<sip:a@b>;=1",
    "<sip:a<b>",
  ])("is refused: %j", (text) => {
    expect(parseNameAddr(text).ok).toBe(false);
  });

  it("in From and To stands alone", () => {
    expect(parseOneNameAddr("<sip:a@b>, <sip:c@d>").ok).toBe(false);
    expect(parseOneNameAddr("sip:a@b, sip:c@d").ok).toBe(false);
    expect(parseOneNameAddr("sip:a@b, <sip:c@d>").ok).toBe(false);
    expect(parseOneNameAddr("sip:a@b;x <sip:c@d>").ok).toBe(false);
    expect(parseOneNameAddr("<sip:a@b>;tag=1").ok).toBe(true);
  });

  it("is written so that it reads the same", () => {
    const address = {
      display: 'A "B" \\',
      uri: "sip:a@b;lr",
      params: new Params([
        ["tag", "1"],
        ["note", "x y"],
        ["flag", ""],
      ]),
    };
    expect(formatNameAddr(address)).toBe('"A \\"B\\" \\\\" <sip:a@b;lr>;tag=1;note="x y";flag');
    expect(value(parseNameAddr(formatNameAddr(address)))).toEqual(address);
  });
});

describe("withTag", () => {
  it.each([
    ["<sip:a@b>", "<sip:a@b>;tag=new", "<sip:a@b>"],
    ["sip:a@b", "sip:a@b;tag=new", "sip:a@b"],
    ["sip:a@b ; TAG = old;x=y", "sip:a@b;tag=new;x=y", "sip:a@b;x=y"],
    [
      '"x;tag=1>" <sip:a@b;tag=2>;y="tag=3;";tag=old ',
      '"x;tag=1>" <sip:a@b;tag=2>;y="tag=3;";tag=new',
      '"x;tag=1>" <sip:a@b;tag=2>;y="tag=3;"',
    ],
    ["<sip:a@b>;tagged=1 ", "<sip:a@b>;tagged=1;tag=new", "<sip:a@b>;tagged=1 "],
    ["<sip:a@b>;tag", "<sip:a@b>;tag=new", "<sip:a@b>"],
  ])("puts the tag of %j in place, or takes it away", (text, replaced, removed) => {
    expect(withTag(text, "new")).toBe(replaced);
    expect(withTag(text, undefined)).toBe(removed);
  });
});

describe("lists and parameters (RFC 3261 §7.3.1)", () => {
  it("are split at commas outside of quotes and brackets; empty elements are left out", () => {
    expect(splitList(' "a,\\",b" <sip:x,y@z>;p="1,2" ,c,, d ')).toEqual(['"a,\\",b" <sip:x,y@z>;p="1,2"', "c", "d"]);
    expect(splitList("one")).toEqual(["one"]);
    expect(splitList("  ")).toEqual([]);
    expect(splitList(",")).toEqual([]);
    expect(splitList('"open, end')).toEqual(['"open, end']);
    expect(splitList("<open, end")).toEqual(["<open, end"]);
  });

  it("of tokens go over several lines", () => {
    expect(tokenList(["a, b", "c"])).toEqual(["a", "b", "c"]);
    expect(tokenList([])).toEqual([]);
  });

  it.each([3, 12, 13, 14, 300])("keep their order and are found and changed, also where there are %i", (count) => {
    const text = Array.from({ length: count }, (_, i) => `;p${i}=${i}`).join("");
    const params = new Params(value(parseParams(text)));
    expect(formatParams(params)).toBe(text);
    expect([params.size, params.get("p2"), params.get(`p${count - 1}`)]).toEqual([count, "2", String(count - 1)]);
    expect([params.has("p"), params.get("p")]).toEqual([false, undefined]);
    expect([params.add("p2", "new"), params.get("p2")]).toEqual([false, "2"]);
    params.set("p2", "new").set("last", "");
    expect([...params].slice(2, 3)).toEqual([["p2", "new"]]);
    expect([...params].at(-1)).toEqual(["last", ""]);
    expect(parseParams(`${text};p0`).ok).toBe(false);
  });

  it("are read with and without the first semicolon, and written with quotes where they are needed", () => {
    const params = value(parseParams('a=1;B="x\\"y" ; c'));
    expect([...params]).toEqual([
      ["a", "1"],
      ["b", 'x"y'],
      ["c", ""],
    ]);
    expect(formatParams(params)).toBe(';a=1;b="x\\"y";c');
    expect([...value(parseParams(";a"))]).toEqual([["a", ""]]);
    expect(value(parseParams("")).size).toBe(0);
    expect(parseParams("a b").ok).toBe(false);
    expect(parseParams("a;a").ok).toBe(false);
  });

  it("have quoted strings, which hold no line break", () => {
    expect(unquote(quote('a"b\\c'))).toBe('a"b\\c');
    expect(quote("a\r\nb")).toBe('"a b"');
    expect(unquote("plain")).toBe("plain");
  });
});

describe("other values", () => {
  it("CSeq is a number below 2^31 and a method (§20.16, §8.1.1.5)", () => {
    expect(value(parseCSeq("0009  \tINVITE "))).toEqual({ number: 9, method: "INVITE" });
    expect(value(parseCSeq("2147483647 FROB"))).toEqual({ number: 2_147_483_647, method: "FROB" });
    for (const text of ["", "1", "INVITE", "2147483648 INVITE", "1INVITE", "1 IN VITE", "-1 INVITE", "1e2 INVITE"])
      expect(parseCSeq(text).ok).toBe(false);
  });

  it("Max-Forwards is 0 to 255 (§20.22)", () => {
    expect(["0", "0068", " 255 ", "256", "-1", "x", ""].map(parseMaxForwards)).toEqual([
      0,
      68,
      255,
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
  });

  it("Content-Type is type/subtype in lower case, with parameters (§20.15)", () => {
    const read = value(parseContentType('Multipart / Mixed ;Boundary="a b"'));
    expect(read.type).toBe("multipart/mixed");
    expect(read.params.get("boundary")).toBe("a b");
    for (const text of ["", "text", "/", "a/b/c", "a/b;", "a/b c"]) expect(parseContentType(text).ok).toBe(false);
  });

  it("a Reason says a SIP status and, quoted, why (RFC 3326 §2)", () => {
    expect(formatReason(200, "Call completed elsewhere")).toBe('SIP;cause=200;text="Call completed elsewhere"');
    expect(formatReason(480, 'a "b"\r\nc')).toBe('SIP;cause=480;text="a \\"b\\" c"');
  });

  it("authentication parameters are read without their quotes (§20.44)", () => {
    const { scheme, params } = value(
      parseAuthParams('Digest realm="a, \\"b\\"" , Nonce="n" ,qop="auth,auth-int",stale=FALSE'),
    );
    expect(scheme).toBe("Digest");
    expect([...params]).toEqual([
      ["realm", 'a, "b"'],
      ["nonce", "n"],
      ["qop", "auth,auth-int"],
      ["stale", "FALSE"],
    ]);
    expect(value(parseAuthParams("Bearer abc.DEF==")).params.size).toBe(0);
    for (const text of ["", 'Digest realm="x', "Digest a=1 b=2", "Digest a=1,a=2", "Digest =x,y=z", "Digest a, b=c"])
      expect(parseAuthParams(text).ok).toBe(false);
  });

  it("header names are found in every form, by one key", () => {
    expect(["Call-ID", "call-id", "CALL-ID", "cALL-iD", "i", "I"].map(headerKey)).toEqual(Array(6).fill("call-id"));
    expect(headerKey("X-Own")).toBe("x-own");
    expect(knownHeader("X-Own")).toBeUndefined();
    expect(knownHeader("constructor")).toBeUndefined();
  });
});
