import { X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { importX509, jwtVerify } from "jose";
import pino from "pino";
import { afterAll, describe, expect, it } from "vitest";
import { fileMistakes } from "../../src/config/cross-check.ts";
import { parseConfig } from "../../src/config/load.ts";
import { createShaken, loadShakenKey } from "../../src/identity/shaken.ts";
import { tnAuthListOf } from "../../src/identity/tn-auth-list.ts";
import { Signing } from "../../src/node/identity.ts";
import type { SipRequest } from "../../src/sip/message.ts";
import { parseIdentity } from "../../src/sip/passport.ts";
import { authority } from "../support/certificates.ts";
import { TestClock } from "../support/test-clock.ts";
import { lab } from "./harness.ts";

const folder = mkdtempSync(join(tmpdir(), "tollgate-shaken-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const ca = authority("STI-CA");
const NOW = Date.UTC(2026, 0, 2, 3, 4, 5);
const days = (n: number) => new Date(NOW + n * 86_400_000);

function files(name: string, issued = ca.issue({ spc: "709J", from: days(-1), to: days(30) })) {
  const certificate = join(folder, `${name}.pem`);
  const key = join(folder, `${name}.key`);
  writeFileSync(certificate, issued.cert + ca.cert);
  writeFileSync(key, issued.key);
  return { certificate, key };
}
const url = "https://portal.example:8443/";
const settings = files("one");
const loaded = loadShakenKey(settings, { url }, NOW);
const ORIGID = loaded.origid;
const attest = createShaken({ key: () => loaded, appServers: undefined, clock: new TestClock(NOW) });
const alice = (numbers?: string[]) => ({
  id: "alice",
  realm: "portal.com",
  ha1: { sha256: "" },
  ...(numbers && { numbers }),
});

/** What an independent verifier (jose) makes of the token, by the certificate at x5u. */
async function verified(request: SipRequest) {
  const value = request.headers.all("identity").at(-1)!;
  const read = parseIdentity(value);
  if (!read.ok) throw new Error(read.error);
  const key = await importX509(new X509Certificate(loaded.pem).toString(), "ES256");
  const { payload, protectedHeader } = await jwtVerify(read.value.token, key, {
    typ: "passport",
    currentDate: days(0),
  });
  return { payload, header: protectedHeader, value: value.slice(value.indexOf(";")) };
}

type Header = [string, string];
async function asked({ numbers, headers = [] }: { numbers?: string[]; headers?: Header[] } = {}) {
  const relay = await lab({ users: [alice(numbers)], core: { attest } });
  relay.client.invite({ headers });
  return relay.server("a").request("INVITE");
}

describe("attestation with the operator's certificate (RFC 8588)", () => {
  it("is A for a number that the operator has registered for the user, and says it in P-Asserted-Identity", async () => {
    const request = await asked({ numbers: ["+4930111", "+4930222"] });
    const { payload, header, value } = await verified(request);
    expect(header).toEqual({
      alg: "ES256",
      ppt: "shaken",
      typ: "passport",
      x5u: "https://portal.example:8443/identity/shaken.pem",
    });
    expect(Object.keys(payload)).toEqual(["attest", "dest", "iat", "orig", "origid"]); // RFC 8225 §9: in this order
    expect(payload).toMatchObject({ attest: "A", orig: { tn: "4930111" }, iat: NOW / 1000, origid: ORIGID });
    expect(payload.dest).toEqual({ uri: ["sip:service1@portal.com", "sip:192.0.2.100"] });
    expect(value).toBe(";info=<https://portal.example:8443/identity/shaken.pem>;alg=ES256;ppt=shaken"); // RFC 8224 §4
    expect(request.headers.all("p-asserted-identity")).toEqual(["<sip:alice@portal.com>", "<tel:+4930111>"]);
    expect(request.headers.all("date")).toEqual(["Fri, 02 Jan 2026 03:04:05 GMT"]);
  });

  it.each([
    ["A", { tn: "4930222" }, "<sip:+4930222@portal.com;user=phone>"],
    ["A", { tn: "4930222" }, "<tel:+49-30-222>"],
    ["A", { tn: "4930222" }, "sip:+4930222@portal.com"],
    ["B", { uri: "sip:alice@portal.com" }, "<tel:+4930999>"],
    ["B", { uri: "sip:alice@portal.com" }, "<sip:boss@portal.com>"],
  ])("is %s with %o for a user who asks to be shown as %s", async (attest, orig, preferred) => {
    const request = await asked({ numbers: ["+4930111", "+4930222"], headers: [["P-Preferred-Identity", preferred]] });
    expect((await verified(request)).payload).toMatchObject({ attest, orig });
  });

  it("is B for a user without a number", async () => {
    const request = await asked();
    expect((await verified(request)).payload).toMatchObject({ attest: "B", orig: { uri: "sip:alice@portal.com" } });
    expect(request.headers.all("p-asserted-identity")).toEqual(["<sip:alice@portal.com>"]);
  });

  it("is C where the password came in the clear, so that anybody on the way may have sent it", async () => {
    const relay = await lab({ users: [alice(["+4930111"])], core: { attest } });
    relay.client.invite({ from: "<sip:alice:secret@portal.com>" });
    expect((await verified(relay.server("a").request("INVITE"))).payload).toMatchObject({ attest: "C" });
  });

  it("has an origid of its own for each portal: a UUID, the same after a restart (RFC 8588 §5)", () => {
    expect(ORIGID).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(loadShakenKey(settings, { url }, NOW).origid).toBe(ORIGID);
    expect(loadShakenKey(settings, { url: "https://other.example" }, NOW).origid).not.toBe(ORIGID);
    const origid = "123E4567-E89B-42D3-A456-426655440000";
    expect(loadShakenKey({ ...settings, origid }, { url }, NOW).origid).toBe(origid.toLowerCase());
  });

  it("stands beside the portal's own, and only on INVITEs to the app servers that the operator names", async () => {
    const only = createShaken({ key: () => loaded, appServers: ["b"], clock: new TestClock(NOW) });
    const proof = (request: SipRequest) => void request.headers.add("Identity", "the portal's");
    const relay = await lab({ servers: [{}, {}], service: { fork: "all" }, proof, core: { attest: only } });
    relay.client.invite();
    expect(relay.server("a").request("INVITE").headers.all("identity")).toEqual(["the portal's"]);
    const both = relay.server("b").request("INVITE").headers.all("identity");
    expect(both).toEqual(["the portal's", expect.stringContaining(";ppt=shaken")]);
  });
});

describe("an Identity header of a client", () => {
  const claimed: Header = ["Identity", "a.b.c;info=<https://evil.example>;alg=ES256;ppt=shaken"];
  const through = async (config: object) => {
    const relay = await lab({
      config: { portal: { domain: "portal.com" }, listen: ["udp:192.0.2.1:5060"], ...config },
    });
    relay.client.invite({ headers: [claimed] });
    return relay.server("a").request("INVITE").headers.all("identity");
  };
  const rest = {
    services: [{ id: "service1" }],
    appServers: [{ id: "a", uri: "sip:192.0.2.100", services: ["service1"] }],
  };

  it("does not pass, whatever the operator lets pass", async () => {
    expect(await through(rest)).toEqual([]);
    expect(parseConfig("headers: { fromClients: [Identity] }", "t.yaml").ok).toBe(false);
  });

  it("passes where a trusted proxy brings it", async () => {
    expect(await through({ ...rest, trustedProxies: ["192.0.2.50"] })).toEqual([claimed[1]]);
  });
});

describe("the operator's certificate", () => {
  it("says for which numbers it is (TNAuthList, RFC 8226 §9)", () => {
    expect(loaded.tnAuthList).toEqual({ spc: ["709J"], numbers: [] });
    expect(tnAuthListOf(new X509Certificate(ca.issue().cert))).toBeUndefined();
  });

  it("has to fit its key and to be in time: check-config says what is wrong", () => {
    const mistakes = (shaken: { certificate: string; key: string }, now = NOW) => {
      const read = parseConfig(`identity: { url: "${url}", shaken: ${JSON.stringify(shaken)} }`, "t.yaml");
      if (!read.ok) throw new Error(JSON.stringify(read.error));
      return fileMistakes(read.value, now).map(({ path, message }) => `${path.join(".")}: ${message}`);
    };
    const other = files("other");
    expect(mistakes(settings)).toEqual([]);
    expect(mistakes({ ...settings, key: other.key })[0]).toMatch(
      /^identity\.shaken\.certificate: .*is not for the key/,
    );
    expect(mistakes({ ...settings, key: `${folder}/none` })[0]).toMatch(/^identity\.shaken\.key: .*no private key/);
    expect(mistakes({ ...settings, certificate: `${folder}/none` })[0]).toMatch(/cannot be read/);
    expect(mistakes(settings, NOW + 31 * 86_400_000)[0]).toMatch(/expired on/);
  });

  it("is read again when its file changes; what cannot be used leaves the former", async () => {
    const mine = files("mine");
    const clock = new TestClock(NOW);
    const lines: string[] = [];
    const log = pino({ level: "info" }, { write: (line: string) => void lines.push(JSON.parse(line).msg) });
    const signing = Signing.of({ identity: { url, shaken: mine }, data: folder }, clock, log)!;
    signing.watch();
    const first = signing.published.shaken;
    expect(signing.daysLeft).toBeCloseTo(30, 5);
    writeFileSync(mine.certificate, "half a file");
    clock.advance(30_000);
    expect(signing.published.shaken).toBe(first);
    expect(lines).toEqual(["identity.shaken: what is new cannot be used"]);
    files("mine", ca.issue({ spc: "1", from: days(-1), to: days(90) }));
    clock.advance(10_000);
    expect(signing.published.shaken).not.toBe(first);
    expect(Math.round(signing.daysLeft!)).toBe(90);
    expect(lines).toEqual(["identity.shaken: what is new cannot be used", "identity.shaken: loaded"]);
    signing.close();
  });

  it("of the portal's own key is read again, too", () => {
    const data = mkdtempSync(join(folder, "data-"));
    const { certificate, key } = files("portal");
    const clock = new TestClock(NOW);
    const signing = Signing.of({ identity: { url, key, certificate }, data }, clock, pino({ level: "silent" }))!;
    signing.watch();
    const first = signing.published.pem;
    files("portal");
    clock.advance(10_000);
    expect(signing.published.pem).not.toBe(first);
    expect(signing.key.pem).toBe(signing.published.pem);
    signing.close();
  });
});
