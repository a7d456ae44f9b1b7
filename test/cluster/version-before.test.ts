import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { readFrame } from "../../src/cluster/frames.ts";
import { readSessionState } from "../../src/relay/model/session-state.ts";
import type { SipRequest, SipResponse } from "../../src/sip/message.ts";
import { parseMessage } from "../../src/sip/parse.ts";
import { serialize } from "../../src/sip/serialize.ts";
import { version } from "../../src/support/version.ts";
import { agrees, Nodes, statuses } from "./nodes.ts";

/*
 * Two versions side by side (P3): what a node of an earlier version has told the others until it died was recorded, and
 * nodes of this version hear it. Each file in ../fixtures/cluster is of one version. When what nodes tell has changed
 * in a release, add one of it:
 *
 *   RECORD=1.2.0 npx vitest run test/cluster/version-before.test.ts
 */

const FOLDER = join(import.meta.dirname, "../fixtures/cluster");

interface Recording {
  readonly release: string;
  /** When it was told, on the test clock, on which topic. */
  readonly told: readonly (readonly [at: number, topic: string, text: string])[];
  readonly diedAt: number;
  /** A session that stands, and its messages at both ends. */
  readonly session: string;
  readonly messages: Readonly<Record<"invite" | "answer" | "inviteAtServer" | "answerOfServer", string>>;
  /** A call that rings: the Call-ID at the app server. */
  readonly ringing: string;
}

let nodes: Nodes;
afterEach(() => nodes.close());

/** A node with a session that stands, a charge in it that is on no bus yet, and a call that rings; then it dies. */
async function record(): Promise<Recording> {
  nodes = await Nodes.of(3);
  const { courier, client, server, clock } = nodes;
  const call = await nodes.established();
  nodes.busTakesEvents = () => false;
  nodes.charge(call, 2, "c1");
  await nodes.run(100);
  server.inbox.length = 0;
  client.invite({ body: "v=0" });
  await nodes.run(20);
  const invite = server.request("INVITE");
  server.answer(invite, 180);
  await nodes.run(200);
  const text = (message: SipRequest | SipResponse) => serialize(message).toString("latin1");
  return {
    release: version(),
    told: courier.told.filter(({ by }) => by === "node00").map(({ at, topic, text }) => [at, topic, text] as const),
    diedAt: clock.monotonic(),
    session: call.id,
    messages: {
      invite: text(call.invite),
      answer: text(call.answer),
      inviteAtServer: text(call.inviteAtServer),
      answerOfServer: text(call.answerOfServer),
    },
    ringing: invite.callId!,
  };
}

/** Nodes of this version hear what that one has told, until it is dead for a while. */
async function playBack({ told, diedAt }: Recording, change: (text: string) => string = (text) => text): Promise<void> {
  nodes = new Nodes();
  nodes.target = "node01";
  await nodes.start("node01");
  await nodes.start("node02");
  const old = nodes.courier.of("node00", (what) => what());
  for (const [at, topic, text] of told) {
    await nodes.run(Math.max(0, at - nodes.clock.monotonic()));
    old.tell(topic, change(text));
  }
  await nodes.run(Math.max(0, diedAt - nodes.clock.monotonic()));
}

const read = <T>(text: string): T => {
  const found = parseMessage(Buffer.from(text, "latin1"), "stream");
  if (!found.ok) throw new Error(found.error.reason);
  return found.value as T;
};

const recordings = (): Recording[] =>
  readdirSync(FOLDER).map((name) => JSON.parse(readFileSync(join(FOLDER, name), "utf8")) as Recording);

if (process.env.RECORD !== undefined)
  it("records what a node of this version tells", async () => {
    const recording = await record();
    writeFileSync(join(FOLDER, `${process.env.RECORD}.json`), `${JSON.stringify(recording, null, 1)}\n`);
  });

describe.each(recordings())("a node of version $release beside nodes of this one (P3)", (recording) => {
  it("is one of them", async () => {
    await playBack(recording);
    const seen = nodes.node("node01").cluster.nodes();
    expect(seen.map(({ node, state }) => `${node} ${state}`)).toEqual(["node00 up", "node01 up", "node02 up"]);
    expect(seen[0]!.release).toBe(recording.release);
  });

  it("is dead, and its session goes on at one of this version: clock, charges, BYE", async () => {
    await playBack(recording);
    agrees(nodes.client);
    agrees(nodes.server);
    await nodes.run(2_000);
    const [standby = "", ...more] = nodes.actors(recording.session);
    expect([standby !== "", more, nodes.charges]).toEqual([true, [], ["c1"]]);
    nodes.target = standby;
    nodes.client.inbox.length = nodes.server.inbox.length = 0;
    const [invite, answer] = [
      read<SipRequest>(recording.messages.invite),
      read<SipResponse>(recording.messages.answer),
    ];
    nodes.client.inDialog("BYE", invite, answer, 2);
    await nodes.run(20);
    nodes.server.answer(nodes.server.request("BYE"), 200);
    await nodes.run(300);
    expect(statuses(nodes.client)).toEqual([200]);
    const [ended] = nodes.ended(recording.session);
    expect(ended).toMatchObject({ type: "session.ended", endedBy: "client" });
  });

  it("is dead, and the app server that rang for it is cancelled (RFC 3261 §9.1)", async () => {
    await playBack(recording);
    await nodes.run(1_000);
    const cancels = nodes.server.inbox.filter((message) => message.isRequest && message.method === "CANCEL");
    expect(new Set(cancels.map(({ callId }) => callId))).toEqual(new Set([recording.ringing]));
  });

  it("has told states of sessions that this version reads, also with fields of a later one in them", () => {
    const states = recording.told.flatMap(([, topic, text]) => {
      const frame = topic.startsWith("copies-") ? readFrame(text) : undefined;
      return frame?.ok ? frame.value.lines.flatMap((line) => (line.kind === "put" ? [line.state] : [])) : [];
    });
    expect(states.length).toBeGreaterThan(0);
    for (const state of states) {
      expect(readSessionState(state).ok).toBe(true);
      const later = { ...JSON.parse(state), later: { a: 1 } };
      for (const part of ["facts", "chart", "client", "server"]) later[part] = { ...later[part], later: "x" };
      expect(readSessionState(JSON.stringify(later)).ok).toBe(true);
    }
  });
});

describe("a node of a later version (P3)", () => {
  it.each(recordings())("may say more in its beats than $release does", async (recording) => {
    await playBack(recording, (text) => (text.startsWith('{"version":1') ? text.replace("{", '{"later":[1],') : text));
    expect(nodes.node("node02").cluster.nodes()[0]).toMatchObject({ node: "node00", state: "up" });
  });
});
