import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import {
  type AuthenticatorSettings,
  createAuthenticator,
  type Refusal,
  type SignInSource,
  type Verdict,
} from "../../src/directory/authenticator.ts";
import { KNOWN_USER_AGENTS } from "../../src/directory/offers.ts";
import type { User } from "../../src/directory/types.ts";
import { userRecord } from "../../src/directory/users.ts";
import { digestResponse, ha1 } from "../../src/sip/digest.ts";
import { Headers, SipRequest } from "../../src/sip/message.ts";
import { canonicalHost } from "../../src/support/address.ts";
import { TestClock } from "../support/test-clock.ts";

const REALM = "portal.com";
const alice = userRecord({ id: "alice", realm: REALM, password: "s\u00e9sam", md5: true });
const bob = userRecord({ id: "bob", realm: REALM, password: "battery", md5: false });
const eve: User = { ...userRecord({ id: "eve", realm: REALM, password: "evil", md5: true }), blocked: { since: 1 } };
const aliceThere = userRecord({ id: "alice@second.com", realm: "second.com", password: "other", md5: true });
/** As they come from another system: one value alone. */
const imported: User = {
  id: "mo",
  realm: REALM,
  ha1: { md5: ha1("md5", "mo", REALM, "five") },
  ha1WithDomain: { md5: ha1("md5", `mo@${REALM}`, REALM, "five") },
};
const old = userRecord({ id: "old", realm: "former.com", password: "past", md5: true });

const settings: AuthenticatorSettings = {
  realm: REALM,
  algorithms: ["sha-256", "md5"],
  nonceLifetimeS: 60,
  fromPassword: "tls",
  legacyNoQop: false,
  fromMustMatch: true,
  throttle: { failures: 3, windowS: 60, delayS: 2, maxDelayS: 300, sources: 100 },
};

const ADDRESS = "198.51.100.7";
const hashed = (algorithm: string, text: string) => createHash(algorithm).update(text, "utf8").digest("hex");

interface Credentials {
  user?: string;
  password?: string;
  algorithm?: "SHA-256" | "MD5" | "SHA-512-256" | "MD5-sess";
  nonce?: string;
  nc?: number;
  uri?: string;
  realm?: string;
  qop?: string | null;
  cnonce?: string | null;
  method?: string;
  /** Replaces the computed one. */
  response?: string;
}

/** The Authorization of a client, by the text of RFC 7616 §3.4.1 and without the relay's own code. */
function authorization(credentials: Credentials): string {
  const {
    user = "alice",
    password = "s\u00e9sam",
    algorithm = "SHA-256",
    nonce = "",
    nc = 1,
    uri = "sip:wine@portal.com",
  } = credentials;
  const { realm = REALM, qop = "auth", cnonce = "0a4f113b", method = "INVITE" } = credentials;
  const name = algorithm.startsWith("MD5") ? "md5" : "sha256";
  const count = nc.toString(16).padStart(8, "0");
  const ha2 = hashed(name, `${method}:${uri}`);
  const first = hashed(name, `${user}:${realm}:${password}`);
  const computed = hashed(
    name,
    qop === null ? `${first}:${nonce}:${ha2}` : `${first}:${nonce}:${count}:${cnonce ?? ""}:${qop}:${ha2}`,
  );
  const response = credentials.response ?? computed;
  let text = `Digest username="${user}", realm="${realm}", nonce="${nonce}", uri="${uri}", response="${response}", algorithm=${algorithm}`;
  if (qop !== null) text += `, qop=${qop}, nc=${count}`;
  if (qop !== null && cnonce !== null) text += `, cnonce="${cnonce}"`;
  return text;
}

interface Asked {
  uri?: string;
  from?: string;
  userAgent?: string;
}

function request(
  authorizations: string[],
  { uri = "sip:wine@portal.com", from = "<sip:alice@portal.com>;tag=1", userAgent }: Asked = {},
): SipRequest {
  const headers = new Headers().add("From", from);
  if (userAgent !== undefined) headers.add("User-Agent", userAgent);
  for (const value of authorizations) headers.add("Authorization", value);
  return new SipRequest("INVITE", uri, headers);
}

const isOurs = (host: string) => ["portal.com", "second.com", "192.0.2.1"].includes(canonicalHost(host));

function setUp(changes: Partial<AuthenticatorSettings> = {}, isPortal = isOurs) {
  const clock = new TestClock();
  const users = new Map([alice, bob, eve, old, imported, aliceThere].map((user) => [user.id, user]));
  const refusals: Refusal[] = [];
  const directory = { user: (id: string) => users.get(id), isPortal };
  const options = {
    directory,
    settings: { ...settings, ...changes },
    clock,
    secret: Buffer.alloc(32, 1),
    nonceSlots: 64,
    refused: (refusal: Refusal) => void refusals.push(refusal),
  };
  const authenticator = createAuthenticator(options);
  const ask = (
    authorizations: string[],
    more: Asked = {},
    flow: SignInSource = { secure: false, remoteAddress: ADDRESS },
  ) => authenticator.authenticate(request(authorizations, more), flow);
  const newNonce = (address = ADDRESS) => nonceOf(ask([], {}, { secure: false, remoteAddress: address }));
  /** One sign-in with a new nonce. */
  const signIn = (credentials: Credentials = {}, more: Asked = {}, address = ADDRESS) =>
    ask([authorization({ nonce: newNonce(address), ...credentials })], more, { secure: false, remoteAddress: address });
  return { clock, ask, newNonce, signIn, authenticator, options, refusals };
}

function nonceOf(verdict: Verdict): string {
  if (verdict.verdict !== "challenge" && verdict.verdict !== "refused")
    throw new Error(`no challenge but ${verdict.verdict}`);
  return /nonce="([^"]+)"/.exec(verdict.challenges[0]!)![1]!;
}

describe("a request without credentials (M2, RFC 3261 §22.2)", () => {
  it("is challenged with SHA-256 first, then MD5, qop and a nonce (RFC 8760 §2.4)", () => {
    const verdict = setUp().ask([]);
    expect(verdict).toMatchObject({ verdict: "challenge", stale: false });
    const nonce = nonceOf(verdict);
    expect(verdict).toMatchObject({
      challenges: [
        `Digest realm="portal.com", nonce="${nonce}", algorithm=SHA-256, qop="auth"`,
        `Digest realm="portal.com", nonce="${nonce}", algorithm=MD5, qop="auth"`,
      ],
    });
  });

  it("is offered no MD5 where the operator switched it off", () => {
    const verdict = setUp({ algorithms: ["sha-256"] }).ask([]);
    expect(verdict.verdict === "challenge" && verdict.challenges.join()).not.toContain("MD5");
  });

  it("is challenged all the same if its credentials are for another realm, another scheme, or cannot be read", () => {
    const { ask, newNonce } = setUp();
    for (const value of [
      authorization({ nonce: newNonce(), realm: "other.com" }),
      "Basic YWxpY2U6eA==",
      "Digest",
      'Digest username="alice',
    ]) {
      expect(ask([value])).toMatchObject({ verdict: "challenge", stale: false });
    }
  });
});

describe("Digest (M2, RFC 7616, RFC 8760)", () => {
  it("hashes as the example of RFC 7616 §3.9.1", () => {
    const parts = {
      method: "GET",
      uri: "/dir/index.html",
      nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
      nc: "00000001",
      cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
      qop: "auth",
    };
    const of = (algorithm: "md5" | "sha-256") =>
      digestResponse({ ...parts, algorithm, ha1: ha1(algorithm, "Mufasa", "http-auth@example.org", "Circle of Life") });
    expect(of("md5")).toBe("8ca523f5e9506fed4657c9700eebdbec");
    expect(of("sha-256")).toBe("753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1");
  });

  it("accepts the right password, by SHA-256 and by MD5", () => {
    const { signIn } = setUp();
    expect(signIn()).toEqual({ verdict: "accepted", user: "alice" });
    expect(signIn({ algorithm: "MD5" })).toEqual({ verdict: "accepted", user: "alice" });
  });

  it("takes MD5 for meant where no algorithm is named (RFC 7616 §3.4)", () => {
    const { ask, newNonce } = setUp();
    expect(ask([authorization({ nonce: newNonce(), algorithm: "MD5" }).replace(", algorithm=MD5", "")])).toMatchObject({
      verdict: "accepted",
    });
  });

  it("finds its credentials among those for other realms (RFC 3261 §22.3)", () => {
    const { ask, newNonce } = setUp();
    expect(
      ask([authorization({ realm: "other.com" }), "Basic eA==", authorization({ nonce: newNonce() })]),
    ).toMatchObject({ verdict: "accepted" });
  });

  it("accepts hex in capitals and a quoted qop, as some clients send them", () => {
    const { ask, newNonce } = setUp();
    const value = authorization({ nonce: newNonce() }).replace(
      /response="([^"]+)"/,
      (_all, hex: string) => `response="${hex.toUpperCase()}"`,
    );
    expect(ask([value.replace("qop=auth", 'qop="auth"')])).toMatchObject({ verdict: "accepted" });
  });

  it.each<[string, Credentials]>([
    ["a wrong password", { password: "guess" }],
    ["a user who is not registered", { user: "mallory" }],
    ["what stands in for users who do not exist", { user: "", password: Buffer.alloc(32, 1).toString("hex") }],
    ["a user who is blocked and does not know the password", { user: "eve", password: "good" }],
    ["a user of a former realm", { user: "old", password: "past" }],
    ["an empty response", { response: "" }],
    ["another method's digest", { method: "BYE" }],
    ["an algorithm that was not offered", { algorithm: "SHA-512-256" }],
    ["a session algorithm", { algorithm: "MD5-sess" }],
    ["no qop (RFC 2069)", { qop: null }],
    ["another qop", { qop: "auth-int" }],
    ["no cnonce", { cnonce: null }],
  ])("refuses %s with 401 and new challenges", (_what, credentials) => {
    const from = `<sip:${credentials.user ?? "alice"}@portal.com>;tag=1`;
    const verdict = setUp().signIn(credentials, { from });
    expect(verdict).toMatchObject({ verdict: "refused", status: 401 });
    expect(verdict.verdict === "refused" && verdict.challenges).toHaveLength(2);
    expect(verdict.verdict === "refused" && verdict.challenges.join()).not.toContain("stale");
  });

  it("does not show by its answer whether the user exists", () => {
    const { signIn } = setUp();
    const hide = (verdict: Verdict) => JSON.stringify(verdict).replaceAll(nonceOf(verdict), "");
    const wrong = hide(signIn({ password: "guess" }));
    expect(hide(signIn({ user: "mallory" }))).toBe(wrong);
    expect(hide(signIn({ user: "eve", password: "good" }))).toBe(wrong);
  });

  it("refuses MD5 where the operator switched it off", () => {
    expect(setUp({ algorithms: ["sha-256"] }).signIn({ algorithm: "MD5" })).toMatchObject({
      verdict: "refused",
      status: 401,
    });
  });

  it.each([
    ["in another case", "sip:wine@PORTAL.com", {}],
    [
      "where a proxy has written another port and transport",
      undefined,
      { uri: "sip:wine@portal.com:5070;transport=tcp" },
    ],
    ["where a proxy has written another user", undefined, { uri: "sip:4711@portal.com" }],
    ["where a proxy has written the address of the relay", undefined, { uri: "sip:wine@192.0.2.1" }],
    ["of another scheme", undefined, { uri: "sips:wine@portal.com" }],
    ["that is the address and port that the client sends to, as SIPp has it", "sip:192.0.2.1:5060", {}],
    ["that is a domain", "sip:portal.com", {}],
  ])("computes with the uri of the credentials %s (RFC 3261 §22.4 item 6)", (_what, uri, more) => {
    const { signIn } = setUp();
    expect(signIn(uri === undefined ? {} : { uri }, more)).toEqual({ verdict: "accepted", user: "alice" });
  });

  it("takes no credentials that were made for somebody else's server, who may have passed our challenge on", () => {
    const { signIn, ask, newNonce } = setUp();
    for (const uri of ["sip:wine@evil.example", "sip:wine@portal.com.evil.example", "tel:1", "wine", "*", ""]) {
      expect(signIn({ uri })).toMatchObject({ verdict: "refused", status: 403, challenges: [] });
    }
    const behind = { secure: false, remoteAddress: ADDRESS, byProxy: true };
    const rewritten = authorization({ nonce: newNonce(), uri: "sip:wine@pbx.example" });
    expect(ask([rewritten], {}, behind)).toEqual({ verdict: "accepted", user: "alice" });
  });

  it("answers 403 to a From that is not the user who signs in", () => {
    const { signIn } = setUp();
    expect(signIn({}, { from: "<sip:bob@portal.com>;tag=1" })).toEqual({
      verdict: "refused",
      status: 403,
      reason: expect.any(String),
      challenges: [],
      user: "alice",
    });
    expect(signIn({}, { from: '"A" <sips:al%69ce@PORTAL.com.>;tag=1' })).toMatchObject({ verdict: "accepted" });
    expect(setUp({ fromMustMatch: false }).signIn({}, { from: "<sip:bob@portal.com>;tag=1" })).toEqual({
      verdict: "accepted",
      user: "alice",
    });
  });
});

describe("From", () => {
  const said = (from: string) => setUp().signIn({}, { from }).verdict;

  it.each([
    "<sip:alice@bank.example>;tag=1",
    "<sip:alice@portal.com.evil.example>;tag=1",
    "<sip:alice@192.0.2.99>;tag=1",
    "<tel:+4912345>;tag=1",
    "<sip:portal.com>;tag=1",
  ])("that is no user of this portal is refused: %s", (from) => {
    expect(said(from)).toBe("refused");
  });

  it.each(["alice@portal.com", "alice@192.0.2.1", "%61lice@portal.com:5060", "anonymous@anonymous.invalid"])(
    "may be %s (RFC 3323 §4.1.1.3)",
    (address) => {
      expect(said(`"Anybody" <sip:${address};user=phone>;tag=1`)).toBe("accepted");
    },
  );

  it.each(["Anonymous <sip:ANONYMOUS@Anonymous.Invalid>;tag=1", "<sip:anonymous.invalid>;tag=1"])(
    "may be %s",
    (from) => {
      expect(said(from)).toBe("accepted");
    },
  );

  it("of nobody names nobody", () => {
    expect(said("<sip:boss@anonymous.invalid>;tag=1")).toBe("refused");
    expect(said("<sip:alice@anonymous.invalid>;tag=1")).toBe("accepted");
  });

  it("with a password is of this portal, too (M2)", () => {
    const { ask } = setUp({ fromPassword: "always" });
    const from = (host: string) => ask([], { from: `<sip:alice:s%C3%A9sam@${host}>;tag=1` });
    expect(from("portal.com")).toMatchObject({ verdict: "accepted" });
    expect(from("bank.example")).toMatchObject({ verdict: "refused", status: 403 });
  });
});

describe("nonces", () => {
  it("serve for several requests as long as the count grows (RFC 7616 §3.4)", () => {
    const { ask, newNonce } = setUp();
    const nonce = newNonce();
    for (const nc of [1, 2, 3, 10]) expect(ask([authorization({ nonce, nc })])).toMatchObject({ verdict: "accepted" });
  });

  it("with a count that was seen are a replay: refused, with a new nonce", () => {
    const { ask, newNonce } = setUp();
    const value = authorization({ nonce: newNonce() });
    expect(ask([value])).toMatchObject({ verdict: "accepted" });
    const again = ask([value]);
    expect(again).toMatchObject({ verdict: "challenge", stale: true });
    expect(ask([authorization({ nonce: nonceOf(again) })])).toMatchObject({ verdict: "accepted" });
  });

  it("do not use up a count for a wrong password", () => {
    const { ask, newNonce } = setUp();
    const nonce = newNonce();
    expect(ask([authorization({ nonce, password: "guess" })])).toMatchObject({ verdict: "refused" });
    expect(ask([authorization({ nonce })])).toMatchObject({ verdict: "accepted" });
  });

  it("expire: stale=true for the right password only (RFC 7616 §3.3)", () => {
    const { ask, newNonce, clock } = setUp();
    const nonce = newNonce();
    clock.advance(60_001);
    const right = ask([authorization({ nonce })]);
    expect(right).toMatchObject({ verdict: "challenge", stale: true });
    expect(right.verdict === "challenge" && right.challenges[0]).toMatch(/, stale=true$/);
    expect(ask([authorization({ nonce, password: "guess" })])).toMatchObject({ verdict: "refused", status: 401 });
  });

  it.each([-86_400_000, 86_400_000])("expire by what passes, though the wall clock is set by %i ms", (byMs) => {
    const { ask, newNonce, clock } = setUp();
    const [first, second] = [newNonce(), newNonce()];
    clock.setWall(byMs);
    clock.advance(60_000);
    expect(ask([authorization({ nonce: first })])).toMatchObject({ verdict: "accepted" });
    clock.advance(1);
    expect(ask([authorization({ nonce: second })])).toMatchObject({ verdict: "challenge", stale: true });
  });

  it("of others are stale, and say nothing about the password", () => {
    const { ask, newNonce, options } = setUp();
    const foreign = createAuthenticator({ ...options, secret: Buffer.alloc(32, 2) });
    const theirs = nonceOf(foreign.authenticate(request([]), { secure: false, remoteAddress: ADDRESS }));
    const elsewhere = newNonce("203.0.113.9");
    for (const nonce of [theirs, elsewhere, "made up", ""]) {
      expect(ask([authorization({ nonce })])).toMatchObject({ verdict: "challenge", stale: true });
      expect(ask([authorization({ nonce, password: "guess" })])).toMatchObject({ verdict: "challenge", stale: true });
    }
  });

  it("are stale once too many later ones are in use, and memory stays bounded", () => {
    const { ask, newNonce } = setUp();
    const first = newNonce();
    expect(ask([authorization({ nonce: first })])).toMatchObject({ verdict: "accepted" });
    for (let i = 0; i < 64; i++)
      expect(ask([authorization({ nonce: newNonce() })])).toMatchObject({ verdict: "accepted" });
    expect(ask([authorization({ nonce: first, nc: 2 })])).toMatchObject({ verdict: "challenge", stale: true });
  });

  it("are not used up by challenges that nobody answers", () => {
    const { ask, newNonce } = setUp();
    const first = newNonce();
    for (let i = 0; i < 1000; i++) newNonce("203.0.113.9");
    expect(ask([authorization({ nonce: first })])).toMatchObject({ verdict: "accepted" });
  });

  it("serve once for a client of RFC 2069, where the operator allows these", () => {
    const { ask, newNonce } = setUp({ legacyNoQop: true });
    const value = authorization({ nonce: newNonce(), qop: null });
    expect(ask([value])).toMatchObject({ verdict: "accepted" });
    expect(ask([value])).toMatchObject({ verdict: "challenge", stale: true });
  });
});

describe("user id and password in From (M2)", () => {
  const from = "<sip:alice:s%C3%A9sam@portal.com>;tag=1";
  const tls = { secure: true, remoteAddress: ADDRESS };
  const open = { secure: false, remoteAddress: ADDRESS };

  it("sign in where the operator allows it: by default on TLS only", () => {
    expect(setUp().ask([], { from }, tls)).toEqual({ verdict: "accepted", user: "alice", byFrom: true });
    expect(setUp().ask([], { from }, open)).toMatchObject({ verdict: "challenge" });
    expect(setUp({ fromPassword: "off" }).ask([], { from }, tls)).toMatchObject({ verdict: "challenge" });
    expect(setUp({ fromPassword: "always" }).ask([], { from }, open)).toEqual({
      verdict: "accepted",
      user: "alice",
      byFrom: true,
    });
  });

  it.each([
    ["a wrong password", "<sip:alice:guess@portal.com>;tag=1"],
    ["a user who is not registered", "<sip:mallory:x@portal.com>;tag=1"],
    ["a user who is blocked and has another password", "<sip:eve:good@portal.com>;tag=1"],
    ["an empty password", "<sip:alice:@portal.com>;tag=1"],
  ])("refuse %s with 401", (_what, wrong) => {
    expect(setUp().ask([], { from: wrong }, tls)).toMatchObject({ verdict: "refused", status: 401 });
  });

  it("are slowed like any other sign-in", () => {
    const { ask } = setUp();
    for (let i = 0; i < 3; i++) ask([], { from: "<sip:alice:guess@portal.com>;tag=1" }, tls);
    expect(ask([], { from }, tls)).toEqual({ verdict: "throttled", retryAfterS: 2 });
  });
});

describe("repeated failures (M2)", () => {
  it.each([-86_400_000, 86_400_000])(
    "make their user wait for what passes, though the wall clock is set by %i ms",
    (byMs) => {
      const { signIn, clock } = setUp();
      for (let i = 0; i < 3; i++) signIn({ password: `guess ${i}` });
      clock.setWall(byMs);
      clock.advance(1_999);
      expect(signIn()).toEqual({ verdict: "throttled", retryAfterS: 1 });
      clock.advance(1);
      expect(signIn()).toMatchObject({ verdict: "accepted" });
    },
  );

  it("make their user wait longer and longer at their source, also with the right password", () => {
    const { signIn, ask, newNonce, clock } = setUp();
    for (let i = 0; i < 3; i++) expect(signIn({ password: `guess ${i}` })).toMatchObject({ verdict: "refused" });
    expect(signIn()).toEqual({ verdict: "throttled", retryAfterS: 2 });
    clock.advance(2000);
    expect(signIn({ password: "guess" })).toMatchObject({ verdict: "refused" });
    expect(signIn()).toEqual({ verdict: "throttled", retryAfterS: 4 });
    clock.advance(4000);
    expect(ask([authorization({ nonce: newNonce() })])).toMatchObject({ verdict: "accepted" });
  });

  it("lock nobody out who comes from elsewhere", () => {
    const { signIn } = setUp();
    for (let i = 0; i < 50; i++) signIn({ password: `guess ${i}` });
    expect(signIn({}, {}, "203.0.113.9")).toMatchObject({ verdict: "accepted" });
  });

  it("lock out no other user behind the same address: the operator's proxy, a NAT", () => {
    const { signIn } = setUp();
    for (let i = 0; i < 50; i++) signIn({ password: `guess ${i}` });
    for (let i = 0; i < 50; i++) signIn({ user: "mallory", password: `guess ${i}` });
    expect(signIn({ user: "bob", password: "battery" }, { from: "<sip:bob@portal.com>;tag=1" })).toMatchObject({
      verdict: "accepted",
    });
  });

  it("do not lock out a user who signs in rightly at the address of the guesser", () => {
    const { signIn, clock } = setUp();
    expect(signIn()).toMatchObject({ verdict: "accepted" });
    for (let i = 0; i < 50; i++) signIn({ password: `guess ${i}` });
    expect(signIn()).toMatchObject({ verdict: "accepted" });
    clock.advance(3_600_000);
    for (let i = 0; i < 50; i++) signIn({ password: `later guess ${i}` });
    expect(signIn()).toMatchObject({ verdict: "accepted" });
  });

  it("never lock out who comes back with a nonce of his own that is out of date: the next one is his as well", () => {
    const { signIn, ask, newNonce, clock } = setUp();
    let nonce = newNonce();
    expect(ask([authorization({ nonce })])).toMatchObject({ verdict: "accepted" });
    for (let day = 0; day < 3; day++) {
      clock.advance(86_400_000);
      for (let i = 0; i < 200; i++) signIn({ password: `guess ${day} ${i}` });
      expect(signIn()).toMatchObject({ verdict: "throttled" }); // so may the guesser be who has this nonce
      const stale = ask([authorization({ nonce, nc: 2 })]);
      expect(stale).toMatchObject({ verdict: "challenge", stale: true });
      nonce = nonceOf(stale);
      expect(ask([authorization({ nonce })])).toMatchObject({ verdict: "accepted" });
    }
  });

  it("let nobody guess who has overheard a sign-in: neither by its nonce nor by sending it again", () => {
    const { signIn, ask, newNonce, clock } = setUp();
    const overheard = authorization({ nonce: newNonce() });
    expect(ask([overheard])).toMatchObject({ verdict: "accepted" });
    clock.advance(3_600_000);
    for (let i = 0; i < 200; i++) signIn({ password: `guess ${i}` });
    let looked = 0;
    for (let i = 0; i < 50; i++) {
      const again = ask([overheard]);
      if (again.verdict === "throttled") continue;
      const guess = ask([authorization({ nonce: nonceOf(again), password: `another ${i}` })]);
      if (guess.verdict !== "throttled") looked++;
      if (ask([authorization({ nonce: newNonce(), nc: 2, password: `one more ${i}` })]).verdict !== "throttled")
        looked++;
    }
    expect(looked).toBe(0);
  });

  it("never lock out who goes on with a nonce of his own, which the guesser has not", () => {
    const { signIn, ask, newNonce } = setUp();
    const nonce = newNonce();
    expect(ask([authorization({ nonce, nc: 1 })])).toMatchObject({ verdict: "accepted" });
    for (let i = 0; i < 1_000; i++) signIn({ password: `guess ${i}` });
    expect(signIn()).toMatchObject({ verdict: "throttled" });
    expect(ask([authorization({ nonce, nc: 2 })])).toMatchObject({ verdict: "accepted" });
  });

  it("are slowed although a guesser has a good nonce: his own, or one that he has overheard", () => {
    const { ask, newNonce, clock } = setUp();
    const bobs = newNonce();
    const bob = { user: "bob", password: "battery", nonce: bobs };
    expect(ask([authorization(bob)], { from: "<sip:bob@portal.com>;tag=1" })).toMatchObject({ verdict: "accepted" });
    const guess = (nonce: string, i: number) =>
      ask([authorization({ nonce, nc: i + 2, password: `guess ${i}` })]).verdict;
    const guesses = Array.from({ length: 20 }, (_, i) => guess(bobs, i));
    expect(guesses.filter((verdict) => verdict === "refused")).toHaveLength(3);
    clock.advance(3_600_000);
    const nonce = newNonce();
    expect(ask([authorization({ nonce })])).toMatchObject({ verdict: "accepted" });
    const overheard = Array.from({ length: 200 }, (_, i) => guess(nonce, i));
    expect(overheard.filter((verdict) => verdict === "refused").length).toBeLessThan(80);
  });

  it("are one failure where the same message comes again", () => {
    const { ask, signIn, newNonce } = setUp();
    const wrong = authorization({ nonce: newNonce(), password: "guess" });
    for (let i = 0; i < 10; i++) expect(ask([wrong])).toMatchObject({ verdict: "refused" });
    expect(signIn()).toMatchObject({ verdict: "accepted" });
  });

  it("cannot be made up in somebody else's name: a forged address has no nonce of ours", () => {
    const { ask, newNonce, signIn } = setUp();
    const mine = newNonce("203.0.113.9");
    for (let i = 0; i < 50; i++) ask([authorization({ nonce: mine, password: "guess", nc: i + 1 })]);
    expect(signIn()).toMatchObject({ verdict: "accepted" });
  });

  it("do not slow requests without credentials: a challenge costs nothing", () => {
    const { signIn, ask } = setUp();
    for (let i = 0; i < 5; i++) signIn({ password: "guess" });
    expect(ask([])).toMatchObject({ verdict: "challenge" });
  });

  it("do not show whether the user exists", () => {
    const shape = (user: string) => {
      const { signIn } = setUp();
      return Array.from({ length: 10 }, (_, i) => signIn({ user, password: `guess ${i}` }).verdict);
    };
    expect(shape("mallory")).toEqual(shape("alice"));
  });

  it("are told with user, reason, and who has to wait from then on", () => {
    const { signIn, refusals, authenticator } = setUp();
    for (let i = 0; i < 4; i++) signIn({ password: `guess ${i}` });
    const lockOut = { user: "alice", source: ADDRESS, failures: 3, waitMs: 2_000 };
    expect(refusals.map(({ user, reason, waitS, lockOut }) => ({ user, reason, waitS, lockOut }))).toEqual([
      { user: "alice", reason: "wrong user or password", waitS: undefined, lockOut: undefined },
      { user: "alice", reason: "wrong user or password", waitS: undefined, lockOut: undefined },
      { user: "alice", reason: "wrong user or password", waitS: undefined, lockOut },
      { user: "alice", reason: "too many failures before", waitS: 2, lockOut: undefined },
    ]);
    expect(authenticator.lockOuts?.()).toEqual([lockOut]);
    expect(authenticator.lift?.({ user: "alice" })).toBe(1);
    expect(authenticator.lockOuts?.()).toEqual([]);
    expect(signIn()).toMatchObject({ verdict: "accepted" });
  });

  it("cost nothing where nobody can guess (keys of app servers)", () => {
    const { signIn } = setUp({ throttle: undefined });
    for (let i = 0; i < 1_000; i++) expect(signIn({ password: `guess ${i}` })).toMatchObject({ verdict: "refused" });
    expect(signIn()).toMatchObject({ verdict: "accepted" });
  });
});

describe("what a client is offered (RFC 8760 §2.4)", () => {
  const offered = (verdict: Verdict) => {
    if (verdict.verdict !== "challenge" && verdict.verdict !== "refused") throw new Error(verdict.verdict);
    return verdict.challenges.map((challenge) => /algorithm=([^,]+)/.exec(challenge)![1]);
  };

  it.each([
    ["baresip v1.0.0 (x86_64/linux)", ["MD5"]],
    ["baresip v3.10.1 (x86_64/Linux)", ["MD5"]],
    ["baresip v3.12.0 (x86_64/Linux)", ["SHA-256", "MD5"]],
    ["SIPp", ["MD5"]],
    ["SIP.js/0.21.2", ["MD5"]],
    ["JsSIP 3.10.1", ["MD5"]],
    ["LinphoneC/5.1.65", ["SHA-256", "MD5"]],
    ["", ["SHA-256", "MD5"]],
    [undefined, ["SHA-256", "MD5"]],
  ])("%s: %j", (userAgent, expected) => {
    const { ask, signIn } = setUp({ userAgents: KNOWN_USER_AGENTS });
    const more = userAgent === undefined ? {} : { userAgent };
    expect(offered(ask([], more))).toEqual(expected);
    expect(offered(signIn({ password: "guess" }, more))).toEqual(expected);
  });

  it("is never more than the operator allows, whatever the client says that it is", () => {
    const { ask, signIn } = setUp({ algorithms: ["sha-256"], userAgents: KNOWN_USER_AGENTS });
    expect(offered(ask([], { userAgent: "baresip v1.0.0" }))).toEqual(["SHA-256"]);
    expect(signIn({ algorithm: "MD5" }, { userAgent: "baresip v1.0.0" })).toMatchObject({ verdict: "refused" });
  });

  it("can be another order", () => {
    const { ask } = setUp({ userAgents: [{ userAgent: "Old.*", algorithms: ["md5", "sha-256"] }] });
    expect(offered(ask([], { userAgent: "Old phone" }))).toEqual(["MD5", "SHA-256"]);
  });

  it("is not MD5 alone for a user of whom no MD5 is kept", () => {
    const { ask } = setUp({ userAgents: KNOWN_USER_AGENTS });
    const more = { userAgent: "baresip v1.0.0", from: "<sip:bob@portal.com>;tag=1" };
    expect(offered(ask([], more))).toEqual(["SHA-256"]);
  });

  it("is remembered for a bounded number of user agents", () => {
    const { ask } = setUp({ userAgents: KNOWN_USER_AGENTS });
    for (let i = 0; i < 2_000; i++) ask([], { userAgent: `Phone ${i}` });
    expect(offered(ask([], { userAgent: "SIPp" }))).toEqual(["MD5"]);
  });
});

describe("registered users", () => {
  it("are kept as hashes for their realm, never as passwords (RFC 7616 §3.4.2)", () => {
    expect(alice).toEqual({
      id: "alice",
      realm: REALM,
      ha1: {
        sha256: hashed("sha256", "alice:portal.com:s\u00e9sam"),
        md5: hashed("md5", "alice:portal.com:s\u00e9sam"),
      },
    });
    expect(bob.ha1).not.toHaveProperty("md5");
  });
});

describe("a user and a guesser behind one address (M2)", () => {
  const DAY = 86_400_000;
  const line = (remotePort: number): SignInSource => ({ secure: false, remoteAddress: ADDRESS, remotePort });

  /** A guesser who never rests, from one port or, with `ports`, from another one each time. */
  function besieged({ ports = false } = {}) {
    const relay = setUp();
    const { ask, clock } = relay;
    let tries = 0;
    let looked = 0;
    const guess = (times: number) => {
      for (let i = 0; i < times; i++) {
        const flow = line(ports ? 20_000 + (tries % 40_000) : 666);
        const nonce = nonceOf(ask([], {}, flow));
        if (ask([authorization({ nonce, password: `guess ${++tries}` })], {}, flow).verdict === "refused") looked++;
      }
    };
    /** An hour of it. */
    const siege = () => {
      for (let ms = 0; ms < 3_600_000; ms += 60_000) {
        guess(10);
        clock.advance(60_000);
      }
      guess(100);
    };
    const from = (port: number, credentials: Credentials) => ask([authorization(credentials)], {}, line(port));
    const nonceAt = (port: number) => nonceOf(ask([], {}, line(port)));
    return { ...relay, guess, siege, from, nonceAt, looked: () => looked };
  }

  it("the user has a nonce that signed in, as old as it may be: it leads to a new one, whatever port it comes from", () => {
    const { siege, from, nonceAt, clock, guess } = besieged({ ports: true });
    let nonce = nonceAt(5060);
    expect(from(5060, { nonce })).toMatchObject({ verdict: "accepted" });
    siege();
    for (let i = 0; i < 3; i++) {
      // From a port that is new, as after a restart of the NAT: nothing but the nonce speaks for the user.
      const verdict = from(6_000 + i, { nonce, nc: 2 });
      expect(verdict).toMatchObject({ verdict: "challenge", stale: true });
      nonce = nonceOf(verdict);
      guess(100);
      expect(from(6_000 + i, { nonce, nc: 1 })).toMatchObject({ verdict: "accepted" });
      clock.advance(DAY);
    }
  });

  it("a nonce of the user's that somebody has overheard is worth one guess, and what he repeats is worth no more", () => {
    const { siege, from, nonceAt, clock } = besieged({ ports: true });
    const nonce = nonceAt(5060);
    const message = { nonce, nc: 1 };
    expect(from(5060, message)).toMatchObject({ verdict: "accepted" });
    clock.advance(120_000);
    const asked = { nonce, nc: 2 };
    const own = nonceOf(from(5060, asked));
    siege();
    const verdicts: string[] = [];
    for (let i = 0; i < 20; i++) {
      for (const repeated of [message, asked]) {
        const verdict = from(777, repeated);
        if (verdict.verdict !== "challenge") continue;
        verdicts.push(from(777, { nonce: nonceOf(verdict), password: `overheard ${i}` }).verdict);
      }
      verdicts.push(from(777, { nonce, nc: 3 + i, password: `old ${i}` }).verdict);
      verdicts.push(from(777, { nonce: own, nc: 1 + i, password: `new ${i}` }).verdict);
    }
    expect(verdicts.filter((verdict) => verdict === "refused").length).toBeLessThanOrEqual(3);
    expect(verdicts.length).toBeGreaterThan(40);
  });

  it("a nonce that was given to one user says nothing for another, nor elsewhere", () => {
    const { guess, from, ask, nonceAt, clock } = besieged();
    const bobs = { user: "bob", password: "battery" };
    const asBob = (nonce: string, nc: number) =>
      ask([authorization({ ...bobs, nonce, nc })], { from: "<sip:bob@portal.com>;tag=1" }, line(888));
    const nonce = nonceAt(888);
    expect(asBob(nonce, 1)).toMatchObject({ verdict: "accepted" });
    clock.advance(120_000);
    const own = nonceOf(asBob(nonce, 2));
    guess(100);
    expect(from(666, { nonce: own, password: "a guess" })).toMatchObject({ verdict: "throttled" });
    const elsewhere = { ...line(888), remoteAddress: "203.0.113.5" };
    expect(ask([authorization({ ...bobs, nonce: own })], {}, elsewhere)).toMatchObject({ verdict: "challenge" });
    expect(asBob(own, 1)).toMatchObject({ verdict: "accepted" });
  });

  it("the user keeps no nonce from call to call: the port that signed in last has looks of its own", () => {
    const { siege, from, nonceAt } = besieged({ ports: true });
    expect(from(5060, { nonce: nonceAt(5060) })).toMatchObject({ verdict: "accepted" });
    siege();
    for (let i = 0; i < 30; i++) expect(from(5060, { nonce: nonceAt(5060) })).toMatchObject({ verdict: "accepted" });
  });

  it("the user is known there and calls from another port: the guesser's port has no look, any other has", () => {
    const { siege, from, nonceAt } = besieged();
    expect(from(5060, { nonce: nonceAt(5060) })).toMatchObject({ verdict: "accepted" });
    siege();
    for (let i = 0; i < 30; i++)
      expect(from(7_000 + i, { nonce: nonceAt(7_000 + i) })).toMatchObject({ verdict: "accepted" });
  });

  it("the user was never there: looked at at once, whoever has failed is not", () => {
    const { siege, from, nonceAt, guess } = besieged();
    siege();
    expect(from(5060, { nonce: nonceAt(5060) })).toMatchObject({ verdict: "accepted" });
    guess(100);
    expect(from(5060, { nonce: nonceAt(5060) })).toMatchObject({ verdict: "accepted" });
  });

  it("the user was never there, and the guesser tries other users, too", () => {
    const { ask, from, nonceAt } = setUpSpraying();
    expect(from(666, { nonce: nonceAt(666) })).toMatchObject({ verdict: "throttled" });
    expect(from(5060, { nonce: nonceAt(5060) })).toMatchObject({ verdict: "accepted" });
    expect(ask([])).toMatchObject({ verdict: "challenge" });
  });

  function setUpSpraying() {
    const relay = besieged();
    for (let i = 0; i < 200; i++) relay.from(666, { user: `user ${i}`, nonce: relay.nonceAt(666) });
    return relay;
  }

  it("and a guesser with as many ports as he likes has some thousands of guesses in a day, not more", () => {
    const { guess, clock, looked } = besieged({ ports: true });
    for (let ms = 0; ms < DAY; ms += 60_000) {
      guess(10);
      clock.advance(60_000);
    }
    expect(looked()).toBeLessThan(5_000);
  });
});

describe("users who came from another system (RFC 8760 §2.4)", () => {
  const from = "<sip:mo@portal.com>;tag=1";
  const offered = (verdict: Verdict) =>
    "challenges" in verdict ? verdict.challenges.map((text) => /algorithm=([\w-]+)/.exec(text)?.[1]) : [];

  it("are offered MD5 alone where there is no other value, whatever their user agent is", () => {
    const { ask } = setUp({ userAgents: [{ userAgent: "New.*", algorithms: ["sha-256"] }] });
    expect(offered(ask([], { from }))).toEqual(["MD5"]);
    expect(offered(ask([], { from, userAgent: "New phone" }))).toEqual(["MD5"]);
    expect(offered(ask([]))).toEqual(["SHA-256", "MD5"]);
  });

  it("sign in by MD5, and not by SHA-256", () => {
    const credentials = { user: "mo", password: "five" };
    expect(setUp().signIn({ ...credentials, algorithm: "MD5" }, { from })).toEqual({ verdict: "accepted", user: "mo" });
    expect(setUp().signIn(credentials, { from })).toMatchObject({ verdict: "refused", status: 401 });
  });

  it("sign in with their domain in the user name, by the value for that (ha1b)", () => {
    const user = "mo@portal.com";
    const signIn = (password: string) => setUp().signIn({ user, password, algorithm: "MD5" }, { from });
    expect(signIn("five")).toEqual({ verdict: "accepted", user: "mo" });
    expect(signIn("four")).toMatchObject({ verdict: "refused", status: 401 });
    expect(setUp().signIn({ user: "alice@portal.com" })).toMatchObject({ verdict: "refused", status: 401 });
  });

  it("sign in by the password in From, too", () => {
    const tls = { secure: true, remoteAddress: ADDRESS };
    expect(setUp().ask([], { from: "<sip:mo:five@portal.com>;tag=1" }, tls)).toMatchObject({ user: "mo" });
    expect(setUp().ask([], { from: "<sip:mo:four@portal.com>;tag=1" }, tls)).toMatchObject({ status: 401 });
  });

  it("sign in by nothing where the operator switched MD5 off", () => {
    const { signIn } = setUp({ algorithms: ["sha-256"] });
    expect(signIn({ user: "mo", password: "five", algorithm: "MD5" }, { from })).toMatchObject({ status: 401 });
  });
});

describe("a user who is blocked", () => {
  const from = "<sip:eve@portal.com>;tag=1";

  it("gets 403, with the right password only: nobody else learns of it", () => {
    const { signIn, refusals } = setUp();
    expect(signIn({ user: "eve", password: "evil" }, { from })).toMatchObject({
      verdict: "refused",
      status: 403,
      user: "eve",
    });
    expect(refusals.at(-1)).toMatchObject({ user: "eve", reason: "the user is blocked" });
    const guessed = signIn({ user: "eve", password: "good" }, { from });
    expect(guessed).toMatchObject({ verdict: "refused", status: 401 });
    expect(guessed).not.toHaveProperty("user");
  });
});

describe("a domain with users of its own", () => {
  const own = { ownUsers: ["second.com"] };
  const from = "<sip:alice@Second.com>;tag=1";
  const there: Credentials = { password: "other", realm: "second.com" };

  it("has the domain for its realm", () => {
    const challenge = (from: string) => setUp(own).ask([], { from });
    expect(challenge(from)).toMatchObject({
      challenges: [expect.stringContaining('realm="second.com"'), expect.anything()],
    });
    expect(challenge("<sip:alice@portal.com>")).toMatchObject({
      challenges: [expect.stringContaining('realm="portal.com"'), expect.anything()],
    });
  });

  it("has an alice of its own, who is not the alice of the other domains", () => {
    const accepted = { verdict: "accepted", user: "alice@second.com" };
    expect(setUp(own).signIn(there, { from })).toEqual(accepted);
    expect(setUp(own).signIn({ ...there, user: "alice@second.com" }, { from })).toEqual(accepted);
    expect(setUp(own).signIn({}, { from: "<sip:alice@portal.com>" })).toEqual({ verdict: "accepted", user: "alice" });
  });

  it.each<[string, Credentials, string]>([
    ["the other alice's password", { ...there, password: "s\u00e9sam" }, from],
    ["its password in the other realm", { ...there, realm: REALM }, from],
    ["its own alice with the other domain in her name", { ...there, user: "alice@portal.com" }, from],
  ])("refuses %s with 401", (_what, credentials, name) => {
    expect(setUp(own).signIn(credentials, { from: name })).toMatchObject({ verdict: "refused", status: 401 });
  });

  it.each<[string, Credentials, string]>([
    ["its alice in From, who signs in as the other", {}, from],
    ["the other alice in From, who signs in as its own", there, "<sip:alice@portal.com>"],
  ])("refuses %s with 403", (_what, credentials, name) => {
    expect(setUp(own).signIn(credentials, { from: name })).toMatchObject({ verdict: "refused", status: 403 });
  });

  it("makes failed sign-ins wait by the user, not by the name", () => {
    const { signIn } = setUp(own);
    for (let i = 0; i < 3; i++) signIn({ ...there, password: `guess ${i}` }, { from });
    expect(signIn({ ...there, user: "alice@second.com" }, { from })).toMatchObject({ verdict: "throttled" });
    expect(signIn({}, { from: "<sip:alice@portal.com>" })).toMatchObject({ verdict: "accepted" });
  });
});
