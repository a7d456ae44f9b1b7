import type { Bill } from "../../src/charging/bill.ts";
import { freePort } from "../support/peers.ts";
import { type OfferedBy, type RelayProcess, startRelayProcess } from "../support/relay-process.ts";
import { type SippClientOptions, type SippOptions, sippClient, sippEnds, sippServer } from "../support/sipp.ts";

/** A play of SIPp at both ends and the relay between, in one temporary folder. */
export interface Play {
  readonly transport: "udp" | "tcp";
  readonly client: Omit<SippClientOptions, "folder" | "port" | "remotePort" | "transport" | "service"> & {
    readonly service?: string;
  };
  /** App servers of the service "wine", the first to be asked first. */
  readonly servers?: readonly (Omit<SippOptions, "folder" | "port" | "transport"> & { readonly id?: string })[];
  /** Further app servers, which are nobody's process. */
  readonly others?: readonly OfferedBy[];
  readonly config?: Readonly<Record<string, unknown>>;
}

/** Plays it to its end; resolves to alice's bill. Rejects, with traces and the relay's log, when an end saw what it did not expect. */
export async function play({ transport, client, servers = [], others = [], config }: Play): Promise<Bill> {
  const ports = await Promise.all(servers.map(() => freePort()));
  const appServers = servers.map(({ id }, i) => ({
    id: id ?? `winery${i + 1}`,
    port: ports[i]!,
    services: ["wine"],
    transport,
    priority: 10 * (i + 1),
  }));
  const relay = await startRelayProcess({
    appServers: [...others, ...appServers],
    ...(config === undefined ? {} : { config }),
  });
  try {
    const { folder } = relay;
    const ends = [];
    for (const [i, server] of servers.entries()) {
      const options = { ...server, folder, transport, port: ports[i]! };
      ends.push(sippEnds(await sippServer(options), options));
    }
    const options = { service: "wine", ...client, folder, transport, port: await freePort(), remotePort: relay.port };
    ends.push(sippEnds(await sippClient(options), options));
    await withLog(relay, Promise.all(ends));
    return await withLog(relay, relay.billAfterStop("alice"));
  } finally {
    await relay.remove();
  }
}

async function withLog<T>(relay: RelayProcess, wanted: Promise<T>): Promise<T> {
  try {
    return await wanted;
  } catch (error) {
    throw new Error(`${(error as Error).message}\n--- the relay's log ---\n${relay.peer.output().slice(-6_000)}`);
  }
}
