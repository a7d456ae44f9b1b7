import { hkdfSync } from "node:crypto";
import { describe, expect, it } from "vitest";
import { createAuthenticator, type SettledVerdict } from "../../src/directory/authenticator.ts";
import { userRecord } from "../../src/directory/users.ts";
import { Headers, SipRequest } from "../../src/sip/message.ts";
import { digestAnswer } from "../support/digest-answer.ts";
import { SharedNodes } from "./shared-nodes.ts";

const REALM = "portal.com";
const URI = "sip:wine@portal.com";
const ALICE = userRecord({ id: "alice", realm: REALM, password: "secret", md5: false });
const SETTINGS = {
  realm: REALM,
  algorithms: ["sha-256"],
  nonceLifetimeS: 60,
  fromPassword: "off",
  legacyNoQop: false,
  fromMustMatch: false,
  throttle: { failures: 3, windowS: 60, delayS: 2, maxDelayS: 300, sources: 100 },
} as const;
/** As from a secret that all nodes have. */
const derived = (purpose: string) => [Buffer.from(hkdfSync("sha256", "the secret of this cluster", "", purpose, 32))];

const authorization = (nonce: string, { nc = 1, password = "secret" } = {}): string =>
  digestAnswer({
    ...{ challenge: nonce, count: nc, method: "INVITE", uri: URI },
    ...{ user: "alice", realm: REALM, password },
  });

function request(value?: string): SipRequest {
  const headers = new Headers().add("From", "<sip:alice@portal.com>;tag=1");
  if (value !== undefined) headers.add("Authorization", value);
  return new SipRequest("INVITE", URI, headers);
}

/** Nodes with an authenticator each, which greet each other. */
async function setUp(keys?: (purpose: string) => readonly Buffer[]) {
  const nodes = new SharedNodes(keys);
  const { clock, wire } = nodes;
  const node = (name: string, epoch = 1) => {
    const shared = nodes.make(name, {}, epoch);
    const { otherNonces, secret, node, answerBy } = shared.nonces.realm("users");
    const authenticator = createAuthenticator({
      directory: { user: (id) => (id === "alice" ? ALICE : undefined) },
      settings: SETTINGS,
      clock,
      secret,
      node,
      otherNonces,
      nonceSlots: 64,
    });
    answerBy((use) => authenticator.useNonce!(use));
    shared.start();
    const ask = async (value?: string, remoteAddress = "192.0.2.7"): Promise<SettledVerdict> => {
      const verdict = authenticator.authenticate(request(value), { secure: false, remoteAddress });
      if (verdict.verdict !== "asking") return verdict;
      clock.advance(1);
      await nodes.settle();
      return verdict.settled;
    };
    const nonce = async () => nonceIn(await ask());
    return { name, shared, authenticator, ask, nonce };
  };
  const [a, b, c] = [node("nodea0"), node("nodeb0"), node("nodec0")];
  clock.advance(100);
  return { nodes, clock, wire, node, a, b, c };
}

function nonceIn(verdict: SettledVerdict): string {
  if (verdict.verdict !== "challenge") throw new Error(`no challenge but ${verdict.verdict}`);
  return /nonce="([^"]+)"/.exec(verdict.challenges[0]!)![1]!;
}

const STALE = { verdict: "challenge", stale: true };
const ALICE_IS_IN = { verdict: "accepted", user: "alice" };

describe.each([
  ["whose key is made of the cluster's secret", derived],
  ["whose key the nodes tell each other", undefined],
])("a nonce %s (RFC 7616 §5.4)", (_, keys) => {
  it("is one at every node, without another challenge", async () => {
    const { a, b, c } = await setUp(keys);
    const nonce = await a.nonce();
    expect(await b.ask(authorization(nonce))).toEqual(ALICE_IS_IN);
    expect(await c.ask(authorization(nonce, { nc: 2 }))).toEqual(ALICE_IS_IN);
    expect(await a.ask(authorization(nonce, { nc: 3 }))).toEqual(ALICE_IS_IN);
  });

  it("takes each count once in the whole cluster (RFC 7616 §3.4, §5.12): at the same moment, too", async () => {
    const { a, b, c } = await setUp(keys);
    const nonce = await a.nonce();
    const captured = authorization(nonce);
    const answers = await Promise.all([b, c, a, b, c].map(({ ask }) => ask(captured)));
    expect(answers.filter(({ verdict }) => verdict === "accepted")).toHaveLength(1);
    expect(answers.filter(({ verdict }) => verdict === "challenge")).toHaveLength(4);
    expect(answers.find(({ verdict }) => verdict === "challenge")).toMatchObject(STALE);
    for (const { ask } of [a, b, c]) expect(await ask(captured)).toMatchObject(STALE);
  });

  it("is of no use to another source, or when it is too old: stale=true, and the next one serves (RFC 7616 §3.3)", async () => {
    const { a, b, clock } = await setUp(keys);
    const nonce = await a.nonce();
    expect(await b.ask(authorization(nonce), "192.0.2.8")).toMatchObject(STALE);
    clock.advance(60_001);
    const stale = await b.ask(authorization(nonce));
    expect(stale).toMatchObject(STALE);
    expect(await b.ask(authorization(nonceIn(stale)))).toEqual(ALICE_IS_IN);
  });

  it("of a node that is gone leads to one of the node that is asked, and a captured header to nothing", async () => {
    const { a, b, c, nodes, wire } = await setUp(keys);
    const nonce = await a.nonce();
    const captured = authorization(nonce);
    expect(await a.ask(captured)).toEqual(ALICE_IS_IN);
    nodes.up.delete(a.name);
    wire.cut.add(a.name);
    for (const { ask } of [b, c]) expect(await ask(captured)).toMatchObject(STALE);
    const stale = await b.ask(authorization(nonce, { nc: 2 }));
    expect(await c.ask(authorization(nonceIn(stale)))).toEqual(ALICE_IS_IN);
  });

  it("of a node that does not answer is stale after a second", async () => {
    const { a, b, clock, wire, nodes } = await setUp(keys);
    const nonce = await a.nonce();
    wire.cut.add(a.name); // and nobody has noticed
    const verdict = b.authenticator.authenticate(request(authorization(nonce)), {
      secure: false,
      remoteAddress: "192.0.2.7",
    });
    if (verdict.verdict !== "asking") throw new Error(verdict.verdict);
    let settled: SettledVerdict | undefined;
    void verdict.settled.then((known) => {
      settled = known;
    });
    clock.advance(999);
    await nodes.settle();
    expect(settled).toBeUndefined();
    clock.advance(1);
    await nodes.settle();
    expect(settled).toMatchObject(STALE);
  });

  it("of an earlier run of its node is none any more", async () => {
    const { a, b, node, clock } = await setUp(keys);
    const nonce = await a.nonce();
    a.shared.stop();
    const again = node("nodea0", 2);
    clock.advance(100);
    for (const { ask } of [b, again]) expect(await ask(authorization(nonce))).toMatchObject(STALE);
    expect(await b.ask(authorization(await again.nonce()))).toEqual(ALICE_IS_IN);
  });

  it("that was made up is no way to guess, and a wrong password is one failure", async () => {
    const { a, b } = await setUp(keys);
    const nonce = await a.nonce();
    const forged = `${nonce.slice(0, -1)}${nonce.endsWith("0") ? "1" : "0"}`;
    expect(await b.ask(authorization(forged, { password: "wrong" }))).toMatchObject(STALE);
    for (let i = 1; i <= 3; i++)
      expect(await b.ask(authorization(nonce, { password: `wrong ${i}` }))).toMatchObject({ verdict: "refused" });
    expect(await b.ask(authorization(nonce, { password: "wrong" }))).toMatchObject({ verdict: "throttled" });
    expect(b.shared.nonces.stats.asked).toBe(0);
  });
});

describe("nonces while the cluster's secret changes", () => {
  it("are checked with both secrets", async () => {
    const { nodes, clock } = await setUp(derived);
    const other = (purpose: string) => [Buffer.from(hkdfSync("sha256", "the new secret", "", purpose, 32))];
    const swapped = nodes.make("noded0", {
      bus: { ...nodes.wire.of("noded0"), keys: (purpose) => [...other(purpose), ...derived(purpose)] },
    });
    const behind = nodes.make("nodee0", {
      bus: { ...nodes.wire.of("nodee0"), keys: (purpose) => [...derived(purpose), ...other(purpose)] },
    });
    for (const shared of [swapped, behind]) shared.start();
    clock.advance(100);
    for (const [maker, reader] of [
      [swapped, behind],
      [behind, swapped],
    ] as const) {
      const { secret, node } = maker.nonces.realm("users");
      const authenticator = createAuthenticator({
        directory: { user: () => ALICE },
        settings: SETTINGS,
        clock,
        secret,
        node,
      });
      const verdict = authenticator.authenticate(request(), { secure: false, remoteAddress: "192.0.2.7" });
      const nonce = nonceIn(verdict as SettledVerdict);
      expect(reader.nonces.realm("users").otherNonces.makerOf(nonce, "192.0.2.7")).toBe(node);
    }
  });
});

describe("what another node tells", () => {
  it("is refused if it cannot be read, and taken of no node that is not there", async () => {
    const { a, b, wire } = await setUp(derived);
    const evil = wire.of("evil00");
    for (const text of ["", "1 evil00 1\n", "1 evil00 1\n[1]", "1 evil00 1\n[[[1]]]", "1 evil00 1\n[[1]]", "2 x", "{}"])
      evil.tell("shared", text);
    expect(b.shared.counters().sharedRefused).toBe(7);
    const nonce = await a.nonce();
    const heard = a.shared.nonces.stats.answered;
    evil.tell(
      "shared-nodea0",
      `1 evil00 1\n${JSON.stringify([["nonce?", 1, "users", nonce, "192.0.2.7", 1, "alice"]])}`,
    );
    evil.tell(
      "shared-nodea0",
      `1 nodeb0 7\n${JSON.stringify([["nonce?", 1, "users", nonce, "192.0.2.7", 1, "alice"]])}`,
    );
    evil.tell(
      "shared-nodea0",
      `1 nodeb0 1\n${JSON.stringify([
        ["nonce?", "1", 2, 3],
        ["later", 1],
        ["nonce", 5, 1],
      ])}`,
    );
    expect(a.shared.nonces.stats.answered).toBe(heard);
    expect(await a.ask(authorization(nonce))).toEqual(ALICE_IS_IN);
  });
});
