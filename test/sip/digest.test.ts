import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import {
  algorithmOf,
  answerChallenge,
  type Challenge,
  digestResponse,
  formatAuthorization,
  formatChallenge,
  ha1,
  parseAuthorization,
  parseChallenge,
  sameSecret,
} from "../../src/sip/digest.ts";

const RFC7616 = {
  realm: "http-auth@example.org",
  nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
  cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
  uri: "/dir/index.html",
};

describe("digest (RFC 7616)", () => {
  it.each([
    ["md5", "8ca523f5e9506fed4657c9700eebdbec"],
    ["sha-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"],
  ] as const)("gives the response of §3.9.1 with %s", (algorithm, expected) => {
    const secret = ha1(algorithm, "Mufasa", RFC7616.realm, "Circle of Life");
    const { nonce, cnonce, uri } = RFC7616;
    expect(
      digestResponse({ algorithm, ha1: secret, method: "GET", uri, nonce, qop: "auth", nc: "00000001", cnonce }),
    ).toBe(expected);
  });

  it("gives the response of RFC 2617 §3.5, and of RFC 2069 without qop", () => {
    const common = {
      algorithm: "md5",
      method: "GET",
      uri: "/dir/index.html",
      nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093",
    } as const;
    const realm = "testrealm@host.com";
    expect(
      digestResponse({
        ...common,
        ha1: ha1("md5", "Mufasa", realm, "Circle Of Life"),
        qop: "auth",
        nc: "00000001",
        cnonce: "0a4f113b",
      }),
    ).toBe("6629fae49393a05397450978507c4ef1");
    expect(digestResponse({ ...common, ha1: ha1("md5", "Mufasa", realm, "CircleOfLife") })).toBe(
      "1949323746fe6a43ef61f9606e7febea",
    );
  });

  it("covers the body with auth-int (§3.4.3)", () => {
    const of = (body: string) =>
      digestResponse({
        algorithm: "md5",
        ha1: "x",
        method: "INVITE",
        uri: "sip:a",
        nonce: "n",
        qop: "auth-int",
        nc: "1",
        cnonce: "c",
        body: Buffer.from(body),
      });
    expect(of("a")).not.toBe(of("b"));
  });

  it("hashes text as UTF-8, and octets of a message as they are", () => {
    expect(ha1("md5", "Jäsøn Doe", "api@example.org", "Secret")).toBe(
      ha1("md5", "J\u0061\u0308søn Doe", "api@example.org", "Secret"),
    );
    // "ü" in UTF-8 is two octets, which a message holds as two characters.
    const md5 = (text: string) => createHash("md5").update(text, "utf8").digest("hex");
    const input = { algorithm: "md5", ha1: "x", method: "INVITE", nonce: "n", uri: "sip:\u00c3\u00bc@b" } as const;
    expect(digestResponse(input)).toBe(md5(`x:n:${md5("INVITE:sip:ü@b")}`));
  });

  it("knows two algorithms and no -sess (RFC 8760 §2.1)", () => {
    expect(
      [undefined, "MD5", "sha-256", "SHA-256", "MD5-sess", "SHA-256-sess", "SHA-512-256"].map(algorithmOf),
    ).toEqual(["md5", "md5", "sha-256", "sha-256", undefined, undefined, undefined]);
  });

  it("compares secrets of any length", () => {
    expect([sameSecret("a", "a"), sameSecret("a", "b"), sameSecret("a", "ab"), sameSecret("", "")]).toEqual([
      true,
      false,
      false,
      true,
    ]);
  });
});

describe("challenges (RFC 7616 §3.3)", () => {
  it("are written as SIP wants them", () => {
    expect(formatChallenge({ realm: 'the "portal"', nonce: "abc", algorithm: "sha-256", stale: true })).toBe(
      'Digest realm="the \\"portal\\"", nonce="abc", algorithm=SHA-256, qop="auth", stale=true',
    );
    expect(formatChallenge({ realm: "r", nonce: "n", algorithm: "md5" })).toBe(
      'Digest realm="r", nonce="n", algorithm=MD5, qop="auth"',
    );
  });

  it("read as they were written", () => {
    const challenge: Challenge = {
      realm: "Kölner Portal",
      nonce: "n",
      algorithm: "md5",
      stale: false,
      opaque: "o",
      qop: ["auth", "auth-int"],
    };
    expect(parseChallenge(formatChallenge(challenge))).toEqual({ ok: true, value: challenge });
  });

  it.each([
    'Basic realm="x"',
    'Digest realm="x"',
    'Digest nonce="x"',
    'Digest realm="r",nonce="n",algorithm=MD5-sess',
    'Digest realm="r",nonce="n",algorithm=SHA-512-256',
    "",
  ])("are refused: %s", (text) => {
    expect(parseChallenge(text).ok).toBe(false);
  });

  it.each([["auth"], []])("are answered with credentials that hold, qop %j", (...qop) => {
    const challenge: Challenge = { realm: "portal", nonce: "n", algorithm: "sha-256", opaque: "o", qop };
    const credentials = answerChallenge(challenge, {
      username: "alice",
      password: "secret",
      method: "INVITE",
      uri: "sip:shop@portal",
      cnonce: "c",
      count: 26,
    });
    const read = parseAuthorization(formatAuthorization(credentials));
    expect(read).toEqual({ ok: true, value: credentials });
    expect(credentials).toMatchObject({ username: "alice", realm: "portal", opaque: "o", algorithm: "SHA-256" });
    expect([credentials.qop, credentials.nc]).toEqual(qop.length ? ["auth", "0000001a"] : [undefined, undefined]);
    const { nonce, uri, nc, cnonce, response } = credentials;
    const known = ha1("sha-256", "alice", "portal", "secret");
    const input = { algorithm: "sha-256", ha1: known, method: "INVITE", uri, nonce } as const;
    expect(digestResponse(qop.length ? { ...input, qop: "auth", nc: nc!, cnonce: cnonce! } : input)).toBe(response);
    expect(digestResponse({ ...input, method: "BYE" })).not.toBe(response);
  });
});

describe("credentials (RFC 7616 §3.4)", () => {
  it("are read with all that they say", () => {
    const read = parseAuthorization(
      'Digest username="J\u00c3\u00bcrgen", realm="r", nonce="n", uri="sip:a@b", response="ff", algorithm=MD5, cnonce="c", opaque="o", qop=auth, nc=00000001',
    );
    expect(read.ok && read.value).toEqual({
      username: "Jürgen",
      realm: "r",
      nonce: "n",
      uri: "sip:a@b",
      response: "ff",
      algorithm: "MD5",
      cnonce: "c",
      opaque: "o",
      qop: "auth",
      nc: "00000001",
    });
  });

  it.each(["username", "realm", "nonce", "uri", "response"])("are refused without %s", (name) => {
    const parts = ["username", "realm", "nonce", "uri", "response"].filter((other) => other !== name);
    expect(parseAuthorization(`Digest ${parts.map((part) => `${part}="x"`).join(",")}`).ok).toBe(false);
  });

  it("of another scheme are refused", () => {
    expect(parseAuthorization("Bearer abc").ok).toBe(false);
  });
});
