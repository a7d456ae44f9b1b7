import { createSocket } from "node:dgram";
import { setTimeout as pause } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import { Direct, type DirectPeer } from "../../src/cluster/direct.ts";
import { HANDED_TOPIC, handedTopic } from "../../src/cluster/handed.ts";
import { HandedWays } from "../../src/cluster/handed-ways.ts";
import { systemClock } from "../../src/support/clock.ts";
import { PeerLog } from "../../src/support/peer-log.ts";
import { silent } from "../charging/samples.ts";
import { until } from "../support/until.ts";

const opened: Direct[] = [];
afterEach(() => {
  for (const direct of opened.splice(0)) direct.stop();
});

const SECRET = Buffer.alloc(32, 1);

async function directOf(options: { key?: Buffer | undefined; at?: string } = {}) {
  const peers: DirectPeer[] = [];
  const heard: string[] = [];
  const told: string[] = [];
  const direct = new Direct({
    host: "127.0.0.1",
    log: silent,
    peerLog: new PeerLog({ log: silent, clock: systemClock }),
    keys: () => (options.key ? [options.key] : []),
    peers: () => peers,
    deaths: () => 0,
    heard: (beat) => void heard.push(beat),
    refused: () => {},
    comesFrom: (_node, address) => address === (options.at ?? "127.0.0.1"),
  });
  opened.push(direct);
  direct.told = (text) => void told.push(text);
  direct.start();
  await until(() => direct.address !== "");
  return { direct, peers, heard, told };
}

/** Says beats until one has come, so that the way is there. */
async function connected(one: Awaited<ReturnType<typeof directOf>>, other: Awaited<ReturnType<typeof directOf>>) {
  one.peers.push({ node: "node02", direct: other.direct.address, heard: 0 });
  await until(() => {
    one.direct.say("beat");
    return other.heard.length > 0;
  });
}

/** Says a beat and waits for it: what was said before has come by then. */
async function afterNextBeat(one: Awaited<ReturnType<typeof directOf>>, other: Awaited<ReturnType<typeof directOf>>) {
  const before = other.heard.length;
  await until(() => {
    one.direct.say("beat");
    return other.heard.length > before;
  });
}

const ASK = "1 node01 5 7 no";

describe("what goes from node to node without NATS (P3)", () => {
  it("is handed over signed with the cluster's secret; what nobody has signed is dropped", async () => {
    const [one, two, stranger] = [
      await directOf({ key: SECRET }),
      await directOf({ key: SECRET }),
      await directOf({ key: Buffer.alloc(32, 2) }),
    ];
    await connected(one, two);
    expect(one.direct.tell("node02", ASK)).toBe(true);
    await until(() => two.told.length > 0);
    expect(two.told).toEqual([ASK]);
    stranger.peers.push({ node: "node02", direct: two.direct.address, heard: 0 });
    stranger.direct.say("beat");
    await pause(20);
    stranger.direct.tell("node02", ASK);
    const socket = createSocket("udp4");
    for (const text of [`2 -\n${ASK}`, `2 ${"0".repeat(64)}\n${ASK}`, "2", `2 \n${ASK}`])
      await new Promise((resolve) => socket.send(text, Number(two.direct.address.split(":")[1]), "127.0.0.1", resolve));
    socket.close();
    await afterNextBeat(one, two);
    expect(two.told).toEqual([ASK]);
  });

  it("without a secret, comes from where its node says that it is", async () => {
    const [one, near, far] = [await directOf(), await directOf(), await directOf({ at: "192.0.2.1" })];
    await connected(one, near);
    one.peers.push({ node: "node03", direct: far.direct.address, heard: 0 });
    await afterNextBeat(one, far);
    one.direct.tell("node02", ASK);
    one.direct.tell("node03", ASK);
    await afterNextBeat(one, near);
    await afterNextBeat(one, far);
    expect([near.told, far.told]).toEqual([[ASK], []]);
  });

  it("is no longer than a datagram, and goes to no node that is not there", async () => {
    const [one, two] = [await directOf({ key: SECRET }), await directOf({ key: SECRET })];
    await connected(one, two);
    expect(one.direct.tell("node02", "x".repeat(60_001))).toBe(false);
    expect(one.direct.tell("node09", ASK)).toBe(false);
  });
});

describe("what is handed over (P3)", () => {
  function ways({ cutOff = false, withoutNats = [] as string[] }) {
    const went: string[] = [];
    const handed = new HandedWays(
      {
        tell: (topic) => {
          went.push(`NATS ${topic}`);
          return true;
        },
        hear: () => () => {},
      },
      { tell: (node) => went.push(`direct ${node}`) > 0, told: undefined },
      { cutOff, withoutNats: () => withoutNats, others: () => ["node02", "node03"] },
    );
    const sent = (topic: string) => {
      went.length = 0;
      handed.tell(topic, "text");
      return went.slice();
    };
    return [sent(HANDED_TOPIC), sent(handedTopic("node02")), sent(handedTopic("node03"))];
  }

  it("goes over NATS, and straight to a node that is not heard there: its sessions can be reached", () => {
    expect(ways({})).toEqual([["NATS handed"], ["NATS handed-node02"], ["NATS handed-node03"]]);
    expect(ways({ withoutNats: ["node02"] })).toEqual([
      ["direct node02", "NATS handed"],
      ["direct node02"],
      ["NATS handed-node03"],
    ]);
  });

  it("goes straight to all where this node is cut off from NATS", () => {
    expect(ways({ cutOff: true })).toEqual([["direct node02", "direct node03"], ["direct node02"], ["direct node03"]]);
  });
});
