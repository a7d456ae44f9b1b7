import { describe, expect, it } from "vitest";
import { linphoneSettings, provisionedUser, provisioningToken } from "../../src/directory/provisioning.ts";
import type { User } from "../../src/directory/types.ts";
import { userRecord } from "../../src/directory/users.ts";

const user = (id: string, more: { password?: string; md5?: boolean } = {}): User =>
  userRecord({ id, realm: "portal.example", password: "correct horse", md5: true, ...more });
const alice = user("alice");
const NOW = Date.UTC(2026, 0, 1);
const until = NOW / 1000 + 900;
const known = (one: User | undefined) => (id: string) => (id === one?.id ? one : undefined);

describe("a token by which a softphone gets a user's settings", () => {
  it("names the user until it is too old, until a new password, and as long as the user is not blocked", () => {
    const token = provisioningToken(alice, until);
    expect(provisionedUser(token, known(alice), NOW)).toBe(alice);
    expect(provisionedUser(token, known(alice), until * 1000 + 1)).toBeUndefined();
    expect(provisionedUser(token, known(user("alice", { password: "new" })), NOW)).toBeUndefined();
    expect(provisionedUser(token, known({ ...alice, blocked: { since: 0 } }), NOW)).toBeUndefined();
    expect(provisionedUser(token, known(undefined), NOW)).toBeUndefined();
  });

  it("is good as it is and not otherwise", () => {
    const token = provisioningToken(alice, until);
    const [id, , proof] = token.split(".");
    for (const wrong of [
      `${id}.${until + 1}.${proof}`,
      `${id}.${until}.${"A".repeat(43)}`,
      "",
      "a.b.c",
      `${token}x`,
      `x${token}`,
    ])
      expect(provisionedUser(wrong, known(alice), NOW)).toBeUndefined();
    const bob = user("bob");
    const asBob = `${Buffer.from("bob").toString("base64url")}.${until}.${proof}`;
    expect(provisionedUser(asBob, known(bob), NOW)).toBeUndefined();
    expect(token).not.toContain(alice.ha1.sha256);
  });
});

describe("the settings for Linphone", () => {
  const sip = { sip: "sip:portal.example;transport=tls" };

  it("have the hash and its algorithm, and no password", () => {
    const xml = linphoneSettings(alice, "portal.example", sip);
    expect(xml).toContain(`<entry name="ha1" overwrite="true">${alice.ha1.sha256}</entry>`);
    expect(xml).toContain('<entry name="algorithm" overwrite="true">SHA-256</entry>');
    expect(xml).toContain('<entry name="reg_proxy" overwrite="true">&lt;sip:portal.example;transport=tls&gt;</entry>');
    expect(xml).not.toContain("correct horse");
    const old = { ...alice, ha1: { md5: alice.ha1.md5! } };
    expect(linphoneSettings(old, "portal.example", sip)).toContain(`>${alice.ha1.md5}<`);
  });

  it("are for the domain of the user, and escaped", () => {
    const xml = linphoneSettings(user("o&'neil@second.example"), "portal.example", sip);
    expect(xml).toContain(">sip:o&amp;'neil@second.example<");
    expect(xml).toContain(">o&amp;'neil<");
  });
});
