import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { Headers, SipRequest, type SipResponse } from "../../src/sip/message.ts";
import { type Lab, lab } from "../relay/harness.ts";
import { MemoryCalls } from "./memory-calls.ts";

const md5 = (text: string) => createHash("md5").update(text).digest("hex");
const URI = "sip:service1@portal.com";
let seq = 0;

async function open() {
  const store = new MemoryCalls();
  const l = await lab({ signIn: true, core: { recordsTo: { store } } });
  const strangers = async (callId: string) => {
    await l.settle();
    return l.core.calls.find({ strangers: true, callId, most: 10 }, []);
  };
  return { l, store, strangers };
}

/** Sends an INVITE with that Call-ID; resolves to its first answer. */
function invite(l: Lab, callId: string, authorization?: string): SipResponse {
  const headers = new Headers()
    .add("Via", `SIP/2.0/UDP 192.0.2.50:5062;branch=z9hG4bKchallenged${++seq}`)
    .add("From", "<sip:alice@portal.com>;tag=1")
    .add("To", `<${URI}>`)
    .add("Call-ID", callId)
    .add("CSeq", `${seq} INVITE`)
    .add("Max-Forwards", "70")
    .add("Contact", "<sip:alice@192.0.2.50:5062>");
  if (authorization !== undefined) headers.add("Authorization", authorization);
  l.client.inbox.length = 0;
  l.client.send(new SipRequest("INVITE", URI, headers));
  return l.client.inbox[0] as SipResponse;
}

function credentials(challenge: SipResponse): string {
  const nonce = /nonce="([^"]+)"/.exec(challenge.headers.get("www-authenticate")!)![1]!;
  const response = md5(`${md5("alice:portal.com:secret")}:${nonce}:00000001:c:auth:${md5(`INVITE:${URI}`)}`);
  return `Digest username="alice", realm="portal.com", nonce="${nonce}", uri="${URI}", response="${response}", algorithm=MD5, qop=auth, nc=00000001, cnonce="c"`;
}

const WHY = "it was challenged, and did not come again with credentials";

describe("an INVITE that is only challenged (P5)", () => {
  it("leaves a stranger's record if it does not come again, found by its Call-ID", async () => {
    const { l, strangers } = await open();
    expect(invite(l, "lost@client").status).toBe(401);
    const at = l.clock.wall();
    expect(await strangers("lost@client")).toEqual([]);
    l.clock.advance(65_000);
    const [record, ...more] = await strangers("lost@client");
    expect(record).toMatchObject({ kind: "invite", callId: "lost@client", status: 401, at, why: WHY });
    expect([record!.user, more]).toEqual([undefined, []]);
  });

  it("leaves none if it comes again with credentials", async () => {
    const { l, strangers } = await open();
    const challenge = invite(l, "good@client");
    invite(l, "good@client", credentials(challenge));
    l.clock.advance(65_000);
    expect(await strangers("good@client")).toEqual([]);
  });

  it("leaves one if it comes again without them, however often", async () => {
    const { l, strangers } = await open();
    for (let n = 0; n < 5; n++) expect(invite(l, "again@client").status).toBe(401);
    l.clock.advance(65_000);
    expect(await strangers("again@client")).toHaveLength(1);
  });

  it("is told of where its credentials are checked, rightly or not, since another node may have challenged it (P3)", async () => {
    const { l } = await open();
    const told: string[] = [];
    l.core.calls.checkedHere = ({ callId }) => void told.push(callId);
    const challenge = invite(l, "bare@client");
    invite(l, "wrong@client", credentials(challenge).replace(/response="[^"]+"/, `response="${md5("")}"`));
    invite(l, "foreign@client", credentials(challenge).replace(/nonce="[^"]+"/, 'nonce="x"'));
    invite(l, "good@client", credentials(challenge));
    await l.settle();
    expect(told).toEqual(["wrong@client", "good@client"]);
  });

  it("is written when the next one is challenged, without anybody asking, and when the relay ends", async () => {
    const { l, store } = await open();
    invite(l, "first@client");
    l.clock.advance(40_000);
    invite(l, "second@client");
    l.clock.advance(40_000);
    invite(l, "third@client");
    l.clock.advance(2_000);
    await l.settle();
    expect(store.records.map(({ callId }) => callId)).toEqual(["first@client"]);
    await l.core.calls.close();
    expect(store.records.map(({ callId }) => callId)).toEqual(["first@client", "second@client", "third@client"]);
  });

  it("costs strangers no timer, and no more memory than 500 of them take", async () => {
    const { l } = await open();
    const armed = l.clock.armed;
    for (let n = 0; n < 600; n++) l.core.calls.wasChallenged(requestOf(n), l.client.flow);
    const { challenged } = l.core.calls as unknown as { challenged: { size: number; leftOut: number } };
    expect([challenged.size, challenged.leftOut, l.clock.armed]).toEqual([500, 100, armed]);
  });
});

const requestOf = (n: number): SipRequest =>
  new SipRequest("INVITE", URI, new Headers().add("Call-ID", `flood-${n}@client`));
