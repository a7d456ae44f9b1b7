import { createHash } from "node:crypto";
import { Grammar, OutgoingRequestMessage, Parser, type URI } from "sip.js/lib/core/index.js";
import { describe, expect, it } from "vitest";
import { DigestCredentials, selectChallenge } from "../../src/sdk/digest.ts";
import { nodeHashes } from "../../src/sdk/node-hashes.ts";

const uri = Grammar.URIParse("sip:wine@portal.com") as URI;
const request = new OutgoingRequestMessage("INVITE", uri, uri, uri, {});
const md5 = (text: string) => createHash("md5").update(text).digest("hex");
const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
const param = (header: string, name: string) => new RegExp(`(?:^|[ ,])${name}="?([^",]*)`).exec(header)?.[1];

function challenged(...challenges: string[]): string {
  const lines = challenges.map((challenge) => `WWW-Authenticate: ${challenge}\r\n`).join("");
  return `SIP/2.0 401 Unauthorized\r\nCSeq: 1 INVITE\r\n${lines}Content-Length: 5\r\n\r\nWWW-A`;
}

/** The challenge that SIP.js reads out of the message. */
function seen(message: string) {
  return Parser.parseMessage(selectChallenge(message, nodeHashes), { warn() {}, error() {} } as never)?.parseHeader(
    "www-authenticate",
  );
}

describe("digest credentials (RFC 7616)", () => {
  it.each([
    ["SHA-256", sha256],
    ["MD5", md5],
  ])("computes the response for qop=auth with %s (§3.4.1)", (algorithm, h) => {
    const credentials = new DigestCredentials("alice", "wonder", nodeHashes);
    expect(
      credentials.authenticate(request, { realm: "portal", nonce: "n1", algorithm, qop: ["auth"], opaque: "o" }),
    ).toBe(true);
    const header = credentials.toString();
    const cnonce = param(header, "cnonce");
    const expected = h(`${h("alice:portal:wonder")}:n1:00000001:${cnonce}:auth:${h("INVITE:sip:wine@portal.com")}`);
    expect(header).toMatch(/^Digest /);
    expect(param(header, "response")).toBe(expected);
    expect(param(header, "algorithm")).toBe(algorithm);
    expect(param(header, "opaque")).toBe("o");
    expect(header).toMatch(/qop=auth,/);
  });

  it("leaves qop, nc and cnonce out where the challenge has no qop (RFC 3261 §22.4)", () => {
    const credentials = new DigestCredentials("alice", "wonder", nodeHashes);
    credentials.authenticate(request, { realm: "portal", nonce: "n1" });
    expect(param(credentials.toString(), "response")).toBe(
      md5(`${md5("alice:portal:wonder")}:n1:${md5("INVITE:sip:wine@portal.com")}`),
    );
    expect(credentials.toString()).not.toMatch(/cnonce|nc=|qop|algorithm/);
  });

  it("counts the uses of each nonce (§3.4)", () => {
    const credentials = new DigestCredentials("alice", "wonder", nodeHashes);
    const nc = (nonce: string) => {
      credentials.authenticate(request, { realm: "portal", nonce, qop: ["auth"] });
      return param(credentials.toString(), "nc");
    };
    expect([nc("a"), nc("a"), nc("b")]).toEqual(["00000001", "00000002", "00000001"]);
  });

  it.each([
    ["an algorithm that it does not know", { realm: "portal", nonce: "n", algorithm: "SHA-1" }],
    ["auth-int alone", { realm: "portal", nonce: "n", qop: ["auth-int"] }],
    ["a challenge without a nonce", { realm: "portal" }],
  ])("does not answer %s", (_what, challenge) => {
    expect(new DigestCredentials("alice", "wonder", nodeHashes).authenticate(request, challenge)).toBe(false);
  });

  it("escapes quotes in a user name", () => {
    const credentials = new DigestCredentials('a"b', "wonder", nodeHashes);
    credentials.authenticate(request, { realm: "portal", nonce: "n" });
    expect(credentials.toString()).toContain('username="a\\"b"');
  });
});

describe("several challenges (RFC 8760 §2.4)", () => {
  const offer = (algorithm: string) =>
    `Digest realm="portal", nonce="${algorithm}", algorithm=${algorithm}, qop="auth"`;

  it("answers the topmost that it can meet", () => {
    expect(seen(challenged(offer("SHA-256"), offer("MD5"))).algorithm).toBe("SHA-256");
    expect(seen(challenged(offer("MD5"), offer("SHA-256"))).algorithm).toBe("MD5");
    expect(seen(challenged(offer("SHA3"), offer("SHA-256"), offer("MD5"))).algorithm).toBe("SHA-256");
  });

  it("reads a challenge that is folded over two lines", () => {
    const folded = challenged('Digest realm="portal", nonce="n",\r\n algorithm=SHA-256', offer("MD5"));
    expect(seen(folded).algorithm).toBe("SHA-256");
  });

  it("leaves every other message, and the body, as it is", () => {
    const ok = challenged(offer("SHA-256"), offer("MD5")).replace("401 Unauthorized", "200 OK");
    expect(selectChallenge(ok, nodeHashes)).toBe(ok);
    expect(selectChallenge(challenged(offer("SHA-256"), offer("MD5")), nodeHashes)).toMatch(/\r\n\r\nWWW-A$/);
    expect(selectChallenge(challenged(offer("SHA3")), nodeHashes)).toBe(challenged(offer("SHA3")));
  });
});
