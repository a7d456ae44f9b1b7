import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Bill } from "../../src/charging/bills/bill.ts";
import { type LossyNetwork, startLossyNetwork } from "../support/lossy-network.ts";
import { freePort } from "../support/peers.ts";
import { type OfferedBy, type RelayProcess, startRelayProcess } from "../support/relay-process.ts";
import { type SippClientOptions, type SippOptions, sippClient, sippEnds, sippServer } from "../support/sipp.ts";

/** A play of SIPp at both ends and the relay between, in one temporary folder. */
export interface Play {
  readonly transport: "udp" | "tcp";
  readonly client: Omit<SippClientOptions, "folder" | "port" | "remotePort" | "transport" | "service"> & {
    readonly service?: string;
  };
  /**
   * App servers, the first to be asked first; where it does not say otherwise they are winery1, winery2, ... and have
   * the service "wine".
   */
  readonly servers?: readonly (Omit<SippOptions, "folder" | "port" | "transport"> &
    Partial<Omit<OfferedBy, "port" | "transport">>)[];
  /** Make a key for each app server, with which it signs in to charge. */
  readonly keys?: boolean;
  /** Further app servers, which are nobody's process. */
  readonly others?: readonly OfferedBy[];
  readonly config?: Readonly<Record<string, unknown>>;
  /** Percentage of the packets that get lost between relay and client, and between relay and app servers (UDP only). */
  readonly lostPercent?: number;
}

export interface Played {
  /** Alice's. */
  readonly bill: Bill;
  /** What an app server, or "client", got: each message as it came. */
  got(whom: string): string[];
}

/** Plays it to its end; resolves to alice's bill. */
export const play = async (all: Play): Promise<Bill> => (await perform(all)).bill;

/** Plays it to its end. Rejects, with traces and the relay's log, when an end saw what it did not expect. */
export async function perform({
  transport,
  client,
  servers = [],
  others = [],
  keys = false,
  config,
  lostPercent = 0,
}: Play): Promise<Played> {
  const paths: LossyNetwork[] = [];
  const pathTo = async (to: number) => {
    if (lostPercent === 0) return to;
    const path = await startLossyNetwork({ to, lostPercent, seed: 3261 + paths.length });
    paths.push(path);
    return path.port;
  };
  const ports = await Promise.all(servers.map(() => freePort()));
  const appServers: OfferedBy[] = [];
  for (const [i, port] of ports.entries()) {
    const { id = `winery${i + 1}`, services = ["wine"], priority = 10 * (i + 1), mayReferTo } = servers[i]!;
    appServers.push({
      id,
      port: await pathTo(port),
      services,
      transport,
      priority,
      ...(mayReferTo && { mayReferTo }),
    });
  }
  const relay = await startRelayProcess({
    appServers: [...others, ...appServers],
    ...(config === undefined ? {} : { config }),
  });
  try {
    const { folder } = relay;
    const ends = [];
    const traces = new Map<string, Traced>();
    for (const [i, server] of servers.entries()) {
      const more = [...(keys ? await keyOf(relay, appServers[i]!.id) : []), ...(server.more ?? [])];
      const options = { ...server, folder, transport, port: ports[i]!, more };
      traces.set(appServers[i]!.id, options);
      ends.push(sippEnds(await sippServer(options), options));
    }
    const remotePort = await pathTo(relay.port);
    const options = { service: "wine", ...client, folder, transport, port: await freePort(), remotePort };
    traces.set("client", options);
    ends.push(sippEnds(await sippClient(options), options));
    await withLog(relay, Promise.all(ends));
    for (const { lost, passed } of paths) {
      if (lost < (passed * lostPercent) / 200) throw new Error(`only ${lost} of ${lost + passed} packets were lost`);
    }
    const bill = await withLog(relay, relay.billAfterStop("alice"));
    const got = new Map([...traces].map(([whom, options]) => [whom, received(options)]));
    return { bill, got: (whom) => got.get(whom) ?? [] };
  } finally {
    for (const path of paths) path.close();
    await relay.remove();
  }
}

type Traced = Pick<SippOptions, "folder" | "scenario" | "port">;

/** The messages that a SIPp has received, of its trace; none where it was told to make none. */
export function received({ folder, scenario, port }: Traced): string[] {
  let trace = "";
  try {
    trace = readFileSync(join(folder, `${scenario}-${port}.messages`), "utf8");
  } catch {
    // It was told so.
  }
  return trace.split(/^-{20,} .*\n/m).flatMap((one) => {
    const [head = "", ...message] = one.split(/\r?\n\r?\n/);
    return /^(UDP|TCP) message received/.test(head) ? [message.join("\n\n")] : [];
  });
}

/** What SIPp is told to sign in as an app server. */
async function keyOf(relay: RelayProcess, appServer: string): Promise<string[]> {
  const made = JSON.parse(await relay.command(["appserver", "key", "add", appServer, "--json"]));
  return ["-au", made.key, "-ap", made.secret];
}

async function withLog<T>(relay: RelayProcess, wanted: Promise<T>): Promise<T> {
  try {
    return await wanted;
  } catch (error) {
    throw new Error(`${(error as Error).message}\n--- the relay's log ---\n${relay.peer.output().slice(-6_000)}`);
  }
}

/** What the bill says, short: each session's app server, end and price, and each thing sold. */
export const lines = (bill: Bill) =>
  bill.services.flatMap(({ service, sessions }) =>
    sessions.flatMap(({ appServer, time, items }) => [
      ...(time ? [`${service} by ${appServer}, ended by ${time.endedBy}: ${time.amount} ${time.currency}`] : []),
      ...items.map((one) => `${one.quantity} x ${one.item} by ${one.channel}: ${one.amount} ${one.currency}`),
    ]),
  );
/** How long each session lasted, milliseconds. */
export const durations = (bill: Bill) =>
  bill.services.flatMap(({ sessions }) => sessions.map(({ time }) => time?.durationMs));
/** Which session on the bill came from which other, and why. */
export function links(bill: Bill): string[] {
  const sessions = bill.services.flatMap(({ service, sessions }) => sessions.map((one) => ({ service, ...one })));
  return sessions.flatMap(({ service, previous }) => {
    if (!previous) return [];
    const before = sessions.find(({ session }) => session === previous.session);
    return [`${service} after ${before?.service} by ${previous.by}`];
  });
}
/** The requests among them, each once: what is sent again has the same Call-ID and CSeq. */
const once = (messages: readonly string[]) => {
  const found = new Map<string, string>();
  for (const message of messages) {
    if (message.startsWith("SIP/2.0")) continue;
    const name = [/^Call-ID:.*/im, /^CSeq:.*/im].map((line) => line.exec(message)?.[0]).join();
    if (!found.has(name)) found.set(name, message);
  }
  return [...found.values()];
};
/** Their methods. */
export const requests = (messages: readonly string[]) => once(messages).map((message) => message.split(" ", 1)[0]);
/** Which way media were to go at each INVITE (RFC 3264 §5.1, §8.4). */
export const directions = (messages: readonly string[]) =>
  once(messages).flatMap((message) =>
    message.startsWith("INVITE")
      ? [/^a=(sendrecv|sendonly|recvonly|inactive)\r?$/m.exec(message)?.[1] ?? "sendrecv"]
      : [],
  );
