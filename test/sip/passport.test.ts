import { createPublicKey, generateKeyPairSync, verify } from "node:crypto";
import { describe, expect, it } from "vitest";
import { identityHeader, parseIdentity, passportName, readPassport } from "../../src/sip/passport.ts";
import { parseUri, sipUriOf } from "../../src/sip/uri.ts";

const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const signer = { key: privateKey, x5u: "https://portal.example/identity/certificate.pem" };
const passport = {
  orig: { uri: "sip:alice@portal.example" },
  dest: { uri: ["sip:wine@portal.example", "sip:192.0.2.7"] },
  iat: 1_700_000_000,
  jti: "j1",
};
const nameOf = (text: string) => passportName(sipUriOf(text)!);

describe("an Identity header (RFC 8224 §4)", () => {
  it("has members in lexicographic order without white space (RFC 8225 §9), and says where the certificate is", () => {
    const value = identityHeader(passport, signer);
    const [header, payload] = value.split(".").map((part) => Buffer.from(part, "base64url").toString());
    expect(header).toBe(`{"alg":"ES256","typ":"passport","x5u":"${signer.x5u}"}`);
    expect(payload).toBe(
      '{"dest":{"uri":["sip:wine@portal.example","sip:192.0.2.7"]},"iat":1700000000,"jti":"j1","orig":{"uri":"sip:alice@portal.example"}}',
    );
    expect(value).toMatch(/;info=<https:\/\/portal\.example\/identity\/certificate\.pem>;alg=ES256$/);
  });

  it("is signed with ES256 in the form of RFC 7518 §3.4", () => {
    const { token } = (parseIdentity(identityHeader(passport, signer)) as { value: { token: string } }).value;
    const [header, payload, signature] = token.split(".");
    const key = { key: createPublicKey(privateKey), dsaEncoding: "ieee-p1363" } as const;
    const signed = Buffer.from(`${header}.${payload}`);
    expect(verify("sha256", signed, key, Buffer.from(signature!, "base64url"))).toBe(true);
    expect(Buffer.from(signature!, "base64url")).toHaveLength(64);
  });

  it("is read with its parameters in any order, quoted or not", () => {
    expect(parseIdentity("a.b.c;alg=ES256;info=<https://x.example/c>")).toEqual({
      ok: true,
      value: { token: "a.b.c", info: "https://x.example/c" },
    });
    expect(parseIdentity('a.b.c ; info=<https://x.example/c> ; ppt="shaken"')).toMatchObject({
      value: { ppt: "shaken" },
    });
  });

  it.each([
    ["", "full form"],
    ["..sig;info=<https://x>", "full form"],
    ["a.b.c", "info is missing"],
    ["a.b.c;alg=ES256", "info is missing"],
    ["a.b.c;info=<https://x>;alg=none", "alg"],
    ["a.b.c;info=<https://x", "parameters"],
    ["a.b.c;;;", "parameters"],
  ])("is refused where it is broken: %s", (value, reason) => {
    expect(parseIdentity(value)).toEqual({ ok: false, error: expect.stringContaining(reason) });
  });
});

describe("a name in a PASSporT", () => {
  it("is the URI without password, port, parameters, in lower case (RFC 8224 §8.5)", () => {
    expect(nameOf("sip:Alice:secret@Portal.Example:5070;transport=tcp?a=b")).toEqual({
      uri: "sip:alice@portal.example",
    });
    expect(nameOf("sip:%61lice@portal.example")).toEqual({ uri: "sip:alice@portal.example" });
    expect(nameOf("sip:192.0.2.7:5060")).toEqual({ uri: "sip:192.0.2.7" });
    expect(nameOf("sip:j%C3%BCrgen@portal.example")).toEqual({ uri: "sip:j%c3%bcrgen@portal.example" });
  });

  it("is the bare number of a telephone number (RFC 8224 §8.3)", () => {
    expect(nameOf("sip:+1-202-555-0100@portal.example;user=phone")).toEqual({ tn: "12025550100" });
    const tel = parseUri("tel:+49(30)123");
    expect(tel.ok && passportName(tel.value)).toEqual({ tn: "4930123" });
    const mail = parseUri("mailto:a@b.example");
    expect(mail.ok && passportName(mail.value)).toBeUndefined();
  });
});

describe("a PASSporT's payload", () => {
  it.each([
    ["no object", null],
    ["no iat", { ...passport, iat: "1" }],
    ["no jti", { ...passport, jti: undefined }],
    ["no orig", { ...passport, orig: {} }],
    ["two kinds of orig", { ...passport, orig: { uri: "a", tn: "b" } }],
    ["no dest", { ...passport, dest: undefined }],
    ["a dest that is no list", { ...passport, dest: { uri: "sip:a@b" } }],
  ])("is refused with %s", (_, payload) => {
    expect(readPassport(payload).ok).toBe(false);
    expect(readPassport(passport)).toEqual({ ok: true, value: passport });
  });
});
