import { describe, expect, it } from "vitest";
import type { SettledVerdict, Verdict } from "../../src/directory/authenticator.ts";
import { deferred } from "../charging/samples.ts";
import { establish, lab } from "./harness.ts";

/** A relay where another node is asked about each sign-in, and answers when told. */
async function asking() {
  const asked: ReturnType<typeof deferred<SettledVerdict>>[] = [];
  const authenticate = (): Verdict => {
    const answer = deferred<SettledVerdict>();
    asked.push(answer);
    return { verdict: "asking", settled: answer.promise };
  };
  const l = await lab({
    core: {
      authenticator: { authenticate, challengesFor: () => undefined, names: () => true, idIn: ({ user = "" }) => user },
    },
  });
  return { l, asked };
}

const ALICE_IS_IN = { verdict: "accepted", user: "alice" } as const;
const STALE = { verdict: "challenge", challenges: ['Digest realm="portal.com", stale=true'], stale: true } as const;

describe("an INVITE with a nonce of another node (M2)", () => {
  it("waits for that node, and goes on when the count is new; a repeated INVITE is no replay", async () => {
    const { l, asked } = await asking();
    const invite = l.client.invite();
    l.client.send(invite);
    expect([l.client.inbox.length, l.server("a").inbox.length, asked.length]).toEqual([0, 0, 1]);
    asked[0]!.resolve(ALICE_IS_IN);
    await l.settle();
    expect(l.server("a").request("INVITE").toTag).toBeUndefined();
    expect(l.core.loads.size).toBe(1);
  });

  it("is challenged when it is a replay (RFC 7616 §3.3)", async () => {
    const { l, asked } = await asking();
    l.client.invite();
    asked[0]!.resolve(STALE);
    await l.settle();
    expect(l.client.response(401).headers.get("www-authenticate")).toContain("stale=true");
    expect(l.server("a").inbox).toEqual([]);
    l.clock.advance(64_000);
    expect(l.leftovers()).toEqual({ sessions: 0, requests: 0, legs: 0, legsByFlow: 0, transactions: 0, timers: 0 });
  });

  it("can be cancelled meanwhile (RFC 3261 §9.2)", async () => {
    const { l, asked } = await asking();
    const invite = l.client.invite();
    l.client.cancel(invite);
    expect([l.client.response(200).cseq!.method, l.client.response(487).cseq!.method]).toEqual(["CANCEL", "INVITE"]);
    asked[0]!.resolve(ALICE_IS_IN);
    await l.settle();
    expect([l.core.requests.size, l.core.loads.size, l.server("a").inbox.length]).toEqual([0, 0, 0]);
  });
});

describe("a REFER with a nonce of another node (M23)", () => {
  it("waits for that node, and is answered once", async () => {
    const { l, asked } = await asking();
    const calling = establish(l);
    asked[0]!.resolve(ALICE_IS_IN);
    const { invite, answer } = await calling;
    l.client.inDialog("REFER", invite, answer, 2, { headers: [["Refer-To", "<sip:service1@portal.com>"]] });
    expect(l.client.inbox).toEqual([]);
    asked[1]!.resolve(STALE);
    await l.settle();
    expect(l.client.response(401).cseq!.method).toBe("REFER");
    l.client.inDialog("REFER", invite, answer, 3, { headers: [["Refer-To", "<sip:service1@portal.com>"]] });
    asked[2]!.resolve(ALICE_IS_IN);
    await l.settle();
    expect(l.client.response(200).cseq!.number).toBe(3);
  });

  it("is 481 when its session has ended meanwhile", async () => {
    const { l, asked } = await asking();
    const calling = establish(l);
    asked[0]!.resolve(ALICE_IS_IN);
    const { invite, answer, server } = await calling;
    l.client.inDialog("REFER", invite, answer, 2, { headers: [["Refer-To", "<sip:service1@portal.com>"]] });
    l.client.inDialog("BYE", invite, answer, 3);
    server.answer(server.request("BYE"), 200);
    await l.settle();
    l.client.response(200);
    asked[1]!.resolve(ALICE_IS_IN);
    await l.settle();
    expect(l.client.response(481).cseq!.method).toBe("REFER");
  });
});

describe("an INVITE of a user of whom other nodes know (decision 14)", () => {
  async function counted() {
    const answers: ((why: string | undefined) => void)[] = [];
    const l = await lab({
      core: {
        loadsElsewhere: {
          mayAlone: () => false,
          ask: () => new Promise((resolve) => answers.push(resolve)),
          changed: () => {},
        },
      },
    });
    /** As a home that grants it, or refuses it. */
    const answer = async (why?: string) => {
      if (why === undefined) l.core.loads.requestBegan("alice");
      answers.shift()!(why);
      await l.settle();
    };
    return { l, answer };
  }

  it("waits for what they say, and is counted once", async () => {
    const { l, answer } = await counted();
    l.client.invite();
    expect(l.server("a").inbox).toEqual([]);
    await answer();
    l.server("a").request("INVITE");
    expect(l.core.loads.of("alice")).toEqual({ ringing: 1, total: 1 });
  });

  it("is refused with 503 where that is too many", async () => {
    const { l, answer } = await counted();
    l.client.invite();
    await answer("this user has 5 sessions");
    expect(l.client.response(503).headers.get("retry-after")).toBe("5");
    expect([l.core.counters.overUserLimit, l.core.loads.size, l.server("a").inbox.length]).toEqual([1, 0, 0]);
  });

  it("gives back what was granted if it was cancelled meanwhile", async () => {
    const { l, answer } = await counted();
    l.client.cancel(l.client.invite());
    expect(l.client.inbox).toHaveLength(2);
    await answer();
    expect([l.core.loads.size, l.core.requests.size, l.server("a").inbox.length]).toEqual([0, 0, 0]);
  });
});
