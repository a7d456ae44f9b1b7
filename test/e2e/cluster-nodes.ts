import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import type { Bill } from "../../src/charging/bills/bill.ts";
import { CHARGE_JSON, PACKAGE } from "../../src/charging/charges/body.ts";
import type { MemberView } from "../../src/cluster/member-view.ts";
import type { SipMessage } from "../../src/sip/message.ts";
import { mongoKind, NO_MONGO, startMongo } from "../support/mongo-server.ts";
import { NO_NATS, natsProgram, startNats } from "../support/nats-server.ts";
import { isInstalled } from "../support/peers.ts";
import { until } from "../support/until.ts";
import { USER } from "./portal.ts";
import { RelayChild } from "./relay-child.ts";
import type { UdpPeer } from "./udp-peer.ts";

/* Nodes of a cluster, by the real command, for tests of what stands before them. The last node bills. */

export const POLL = { timeout: 20_000, interval: 50 };

/** Why there can be no cluster here, or nothing of `programs`; undefined: there can. */
export function withoutCluster(...programs: readonly string[]): string | undefined {
  if (natsProgram === undefined) return NO_NATS;
  if (mongoKind() === undefined) return NO_MONGO;
  const missing = programs.filter((program) => !isInstalled(program));
  return missing.length === 0 ? undefined : `${missing.join(" and ")} not installed`;
}

let clusters = 0;

export interface NodesOptions {
  readonly size: number;
  /** Settings of the node with that number, from 0. */
  config(node: number): Readonly<Record<string, unknown>>;
  /** A command that runs the node elsewhere. */
  prefix?(node: number): readonly string[];
  /** NATS and MongoDB are reached at this address, too: for nodes in a network of their own. */
  readonly at?: string;
}

/** Starts nodes, one after the other, and waits until each knows all. `closers` gets what ends them. */
export async function startNodes(
  { size, config, prefix, at }: NodesOptions,
  closers: (() => unknown)[],
): Promise<readonly RelayChild[]> {
  const nats = await startNats();
  closers.push(() => nats.destroy());
  const mongo = await startMongo();
  closers.push(() => mongo.stop());
  const store = mongo.url(`nodes_${process.pid}_${++clusters}`);
  const [bus, far] = at === undefined ? [nats.url, store] : [await passOn(nats.url, at), await passOn(store, at)];
  const nodes: RelayChild[] = [];
  for (let i = 0; i < size; i++) {
    const own = () => ({
      bus,
      store: far,
      roles: i === size - 1 ? ["relay", "billing"] : ["relay"],
      drainS: 1,
      ...config(i),
    });
    const node = await RelayChild.create(own, { registers: i === 0 });
    if (prefix) node.prefix = prefix(i);
    closers.push(() => node.remove());
    await node.start();
    nodes.push(node);
  }
  for (const node of nodes) await until(async () => (await membersOf(node)).length === size);
  return nodes;

  /** Connections to that address and a free port go on to the URL's host; returns the URL with it. */
  async function passOn(url: string, address: string): Promise<string> {
    const { hostname, port } = new URL(url);
    const server = createServer((near) => {
      const onward = connect(Number(port), hostname);
      for (const [one, other] of [
        [near, onward],
        [onward, near],
      ] as const)
        one.on("error", () => other.destroy()).pipe(other);
    });
    server.listen(0, address);
    await once(server, "listening");
    closers.push(() => server.close());
    return url.replace(`${hostname}:${port}`, `${address}:${(server.address() as AddressInfo).port}`);
  }
}

export const membersOf = async (node: RelayChild) =>
  JSON.parse(await node.command(["nodes", "--json"])) as MemberView[];

/** An end that does not know UPDATE, and is there. */
export function knowsNoUpdate(peer: UdpPeer): void {
  peer.onMessage = (message: SipMessage) => {
    if (!message.isRequest || (message.method !== "OPTIONS" && message.method !== "UPDATE")) return false;
    if (message.method === "OPTIONS") peer.answer(message, 200);
    else peer.answer(message, 405, { headers: [["Allow", "INVITE, ACK, BYE, CANCEL, INFO, OPTIONS"]] });
    return true;
  };
}

/** What an app server charges: one thing for 0.50. */
export const chargeOf = (id: string) => ({
  headers: [["Info-Package", PACKAGE]] as [string, string][],
  body: JSON.stringify({ charges: [{ id, item: id, unitPrice: "0.50", currency: "EUR" }] }),
  type: CHARGE_JSON,
});

/** What is on the user's bill, once so many sessions have ended. */
export async function billed(node: RelayChild, many: number) {
  let ended: Bill["services"][number]["sessions"] = [];
  await until(async () => {
    const bill = JSON.parse(await node.command(["bill", USER, "--json"])) as Bill;
    ended = bill.services.flatMap(({ sessions }) => sessions).filter(({ time }) => time !== undefined);
    return ended.length >= many;
  });
  return ended;
}
