import { execFileSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { loadIdentityKey } from "../../src/identity/key.ts";
import { createProof } from "../../src/identity/proof.ts";
import { createProofCheck } from "../../src/sdk/proof.ts";
import { SipRequest } from "../../src/sip/message.ts";
import { TestClock } from "../support/test-clock.ts";
import { lab } from "./harness.ts";

const folder = mkdtempSync(join(tmpdir(), "tollgate-proof-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const url = "https://portal.example:8443/";

describe("the relay's signature on an INVITE to an app server (M10, RFC 8224)", () => {
  it("says who calls whom and when, and the app server's check takes it", async () => {
    const identity = loadIdentityKey({ url }, folder);
    const clock = new TestClock(Date.UTC(2026, 0, 2, 3, 4, 5, 678));
    const sign = createProof({ signer: () => identity, clock, random: { token: () => "one" } });
    const request = new SipRequest("INVITE", "sip:192.0.2.7:5070");
    request.headers.add("To", "<sip:wine@portal.example>").add("Date", "Mon, 01 Jan 1990 00:00:00 GMT");
    sign(request, "sip:Alice@portal.example");
    expect(request.headers.all("date")).toEqual(["Fri, 02 Jan 2026 03:04:05 GMT"]);
    const check = createProofCheck({ self: request.uri, keys: identity.jwks as never, now: () => clock.wall() });
    const identities = request.headers.all("identity");
    expect(identities[0]).toContain(";info=<https://portal.example:8443/identity/certificate.pem>;alg=ES256");
    const asked = { to: "sip:wine@portal.example", identities };
    expect(await check(asked)).toEqual({ ok: true, user: "sip:alice@portal.example" });
  });

  it("stands on every INVITE where the operator has switched it on; a client's own claims never do", async () => {
    const signed: string[] = [];
    const proof = (request: SipRequest, user: string) => {
      signed.push(user);
      request.headers.add("Identity", "the relay's");
    };
    const { client, server } = await lab({ proof });
    client.invite({
      headers: [
        ["Identity", "a.b.c;info=<https://evil.example>"],
        ["P-Asserted-Identity", "<sip:boss@portal.com>"],
        ["P-Preferred-Identity", "<sip:boss@portal.com>"],
      ],
    });
    const asked = server("a").request("INVITE").headers;
    expect(asked.all("identity")).toEqual(["the relay's"]);
    expect(asked.all("p-asserted-identity")).toEqual(["<sip:alice@portal.com>"]);
    expect(asked.has("p-preferred-identity")).toBe(false);
    expect(signed).toEqual(["sip:alice@portal.com"]);
  });
});

describe("the relay's key", () => {
  it("is made at the first start, for its owner only, and is the same at the next", () => {
    const data = mkdtempSync(join(folder, "data-"));
    const first = loadIdentityKey({ url }, data);
    expect(statSync(join(data, "identity-key.pem")).mode & 0o777).toBe(0o600);
    expect(loadIdentityKey({ url }, data).jwks).toEqual(first.jwks);
    expect(first.pem).toContain("BEGIN PUBLIC KEY");
    expect(JSON.stringify(first.jwks)).not.toContain('"d"');
  });

  it("must have a certificate that has not expired by the relay's clock", () => {
    const data = mkdtempSync(join(folder, "data-"));
    loadIdentityKey({ url }, data); // makes the key
    const certificate = join(data, "cert.pem");
    const made = ["req", "-x509", "-key", join(data, "identity-key.pem"), "-subj", "/CN=portal.com", "-days", "1"];
    execFileSync("openssl", [...made, "-out", certificate], { stdio: "pipe" });
    const at = (wall: number) => loadIdentityKey({ url, certificate }, data, { wall: () => wall });
    expect(at(Date.now()).pem).toContain("BEGIN CERTIFICATE");
    expect(() => at(Date.now() + 2 * 86_400_000)).toThrow(/cert\.pem: expired on /);
  });

  it("must be one for ES256, and the certificate's", () => {
    const rsa = join(folder, "rsa.pem");
    const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    writeFileSync(rsa, privateKey.export({ type: "pkcs8", format: "pem" }));
    expect(() => loadIdentityKey({ url, key: rsa }, folder)).toThrow(/rsa\.pem: a key on the curve P-256 is needed/);
    expect(() => loadIdentityKey({ url, key: join(folder, "none.pem") }, folder)).toThrow(/no private key in PEM/);
    const notOne = join(folder, "cert.pem");
    writeFileSync(notOne, readFileSync(rsa));
    expect(() => loadIdentityKey({ url, certificate: notOne }, folder)).toThrow(/no certificate in PEM/);
    const none = join(folder, "none.pem");
    expect(() => loadIdentityKey({ url, certificate: none }, folder)).toThrow(
      /none\.pem: the certificate cannot be read/,
    );
  });
});
