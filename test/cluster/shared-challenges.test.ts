import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { Nonces } from "../../src/directory/nonces.ts";
import { Headers, SipRequest } from "../../src/sip/message.ts";
import { SharedNodes } from "./shared-nodes.ts";

/** Nodes that challenge INVITEs. `heard`: of which Call-IDs each is told that they came again. */
function setUp() {
  const nodes = new SharedNodes();
  const node = (name: string) => {
    const shared = nodes.make(name);
    const heard: string[] = [];
    const calls = {
      cameAgain: (callId: string) => void heard.push(callId),
      checkedHere: undefined as ((request: SipRequest) => void) | undefined,
    };
    shared.challenges.attach(calls);
    shared.start();
    const nonces = new Nonces(randomBytes(32), 60_000, name);
    const nonce = () => nonces.issue(nodes.clock.monotonic(), "192.0.2.7");
    return { heard, nonce, checks: (request: SipRequest) => calls.checkedHere!(request) };
  };
  const [one, two, three] = [node("node00"), node("node01"), node("node02")];
  return { one, two, three, pass: () => nodes.clock.advance(100) };
}

const invite = (nonce: string, { nc = "00000001", callId = "c@client" } = {}): SipRequest =>
  new SipRequest(
    "INVITE",
    "sip:wine@portal.com",
    new Headers()
      .add("Call-ID", callId)
      .add(
        "Authorization",
        `Digest username="alice", realm="portal.com", nonce="${nonce}", uri="sip:wine@portal.com", response="0", nc=${nc}`,
      ),
  );

describe("an INVITE that one node has challenged, and that comes to another with credentials (P5)", () => {
  it("is known to have come again at the node that challenged it, and at one that challenged it, too", () => {
    const { one, two, three, pass } = setUp();
    two.checks(invite(one.nonce()));
    pass();
    expect([one.heard, two.heard, three.heard]).toEqual([["c@client"], [], ["c@client"]]);
  });

  it.each<[string, { own?: boolean; nc?: string; callId?: string }]>([
    ["the nonce is of the node to which it came", { own: true }],
    ["a nonce is used once more, which takes no challenge", { nc: "00000002" }],
    ["its Call-ID is longer than what is told", { callId: "c".repeat(257) }],
  ])("costs the other nodes nothing if %s", (_what, { own = false, ...of }) => {
    const { one, two, pass } = setUp();
    two.checks(invite((own ? two : one).nonce(), of));
    two.checks(invite("of nobody", of));
    pass();
    expect(one.heard).toEqual([]);
  });
});
