import { readFileSync } from "node:fs";
import { join } from "node:path";
import { makeBill } from "../../src/charging/bills/bill.ts";
import { monthOf } from "../../src/charging/money/months.ts";
import { openEmbeddedStore } from "../../src/store/embedded.ts";
import { freePort, type Peer } from "../support/peers.ts";
import { startRelayProcess } from "../support/relay-process.ts";
import { type SippClientOptions, sippClient, sippServer } from "../support/sipp.ts";
import { SERVICE } from "./load.ts";
import { type Killable, kamailioThatKeeps } from "./systems.ts";

/*
 * kill -9 while sessions stand, and start again: how many of them are still there, hang up by themselves, and are on
 * record to the second. With SIPp at both ends; its clients over TCP share a connection, which is lost, and make
 * another.
 */

export interface KillOptions {
  readonly system: "tollgate" | "kamailio";
  readonly folder: string;
  readonly udp: number;
  readonly tcp: number;
  /** How long each session lasts. */
  readonly holdMs: number;
  /** So long nothing is there between the kill and the new start. */
  readonly downMs: number;
  readonly say: (text: string) => void;
}

export interface KillFigures {
  readonly system: "tollgate" | "kamailio";
  readonly udp: number;
  readonly tcp: number;
  readonly holdMs: number;
  readonly downMs: number;
  /** From the kill until it took calls again. */
  readonly awayMs: number;
  /** Sessions that stood when it was killed. */
  readonly stood: number;
  /** Clients that hung up when they wanted to, and were answered 200. */
  readonly hungUp: { readonly udp: number; readonly tcp: number };
  /** Sessions that are on record with their end; and those of them that lasted what they lasted, to the second. */
  readonly recorded: number;
  readonly toTheSecond: number;
  readonly shortestMs: number;
  readonly longestMs: number;
}

/** Whether all of them were still there, and are on record as they were; of the relay's that is so. */
export const isWhole = ({ system, udp, tcp, hungUp, toTheSecond }: KillFigures): boolean =>
  system !== "tollgate" || (hungUp.udp === udp && hungUp.tcp === tcp && toTheSecond === udp + tcp);

const RATE = 100;
/** Within this the last call is set up. */
const SET_UP_MS = 2_000;
/** Between SIPp's clock and the relay's lie the ways of ACK and BYE, on a busy machine. */
const SECOND_MS = 1_000;

export async function measureKill(options: KillOptions): Promise<KillFigures> {
  const { system, folder, udp, tcp, holdMs, downMs, say } = options;
  const calls = udp + tcp + (tcp > 0 ? ONE_MORE : 0);
  const appServerPort = await freePort();
  const answering = await sippServer({
    ...common(folder),
    scenario: "server-call",
    port: appServerPort,
    calls,
    holdMs: 1,
    timeoutS: 600,
  });
  const killable = system === "tollgate" ? await tollgate(appServerPort) : await kamailioThatKeeps(appServerPort);
  try {
    const base = { ...common(folder), scenario: "client-call", service: SERVICE, remotePort: killable.port, holdMs };
    const overUdp = await client({ ...base, calls: udp, transport: "udp" });
    const overTcp =
      tcp > 0
        ? await client({
            ...base,
            scenario: "client-comes-back",
            calls: tcp + ONE_MORE,
            transport: "tcp",
            more: [...base.more, ...AGAIN],
          })
        : undefined;
    const setUpMs = (Math.max(udp, tcp + ONE_MORE) / RATE) * 1000;
    const begunAt = Date.now();
    let stood = 0;
    while (stood < calls && Date.now() - begunAt < setUpMs + holdMs / 2) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      stood = standing(overUdp) + (overTcp ? standing(overTcp) : 0);
    }
    // SIPp counts a call from its INVITE on: the last ones may still ring, and what is not set up ends with the relay.
    await new Promise((resolve) => setTimeout(resolve, SET_UP_MS));
    say(`${system}: ${stood} sessions stand; kill -9`);
    const killedAt = Date.now();
    await killable.again(downMs);
    const awayMs = Date.now() - killedAt;
    const hungUp = { udp: await succeeded(overUdp), tcp: overTcp ? await succeeded(overTcp) : 0 };
    const durations = await killable.durationsMs();
    const toTheSecond = durations.filter((ms) => Math.abs(ms - holdMs) <= SECOND_MS).length;
    const [shortestMs, longestMs] = [Math.min(...durations), Math.max(...durations)];
    const recorded = durations.length;
    return { system, udp, tcp, holdMs, downMs, awayMs, stood, hungUp, recorded, toTheSecond, shortestMs, longestMs };
  } finally {
    await killable.remove();
    await answering.stop();
  }
}

/** Of what is asked in the dialogs it answers OPTIONS by itself. */
const common = (folder: string) => ({ folder, trace: false, more: ["-aa", "-buff_size", "4194304"] });

/**
 * SIPp makes the connection again when it has something to send. It fails the call whose message finds it gone: that is
 * one more, and does not count.
 */
const ONE_MORE = 1;
const AGAIN = ["-max_reconnect", "1000", "-reconnect_close", "false", "-reconnect_sleep", "10"];

interface Clients {
  readonly peer: Peer;
  readonly statistics: string;
}

async function client(options: Omit<SippClientOptions, "port"> & { transport: "udp" | "tcp" }): Promise<Clients> {
  const port = await freePort();
  const statistics = join(options.folder, `kill-${options.transport}-${port}.csv`);
  const more = [...(options.more ?? []), "-trace_stat", "-stf", statistics, "-fd", "1"];
  const timeoutS = Math.ceil((options.holdMs ?? 0) / 1000 + (options.calls ?? 1) / RATE + 60);
  const peer = await sippClient({ ...options, port, rate: RATE, timeoutS, more });
  return { peer, statistics };
}

/** Calls that were answered, and not hung up yet. */
function standing({ statistics }: Clients): number {
  return column(statistics, "CurrentCall");
}

async function succeeded({ peer, statistics }: Clients): Promise<number> {
  await peer.exit;
  return column(statistics, "SuccessfulCall(C)");
}

/** Of SIPp's statistics, what the last whole line says. */
function column(file: string, name: string): number {
  let text = "";
  try {
    text = readFileSync(file, "utf8");
  } catch {
    return 0; // not begun yet
  }
  const lines = text.split("\n");
  const at = lines[0]!.split(";").indexOf(name);
  return Number(lines.at(-2)?.split(";")[at]) || 0;
}

async function tollgate(appServerPort: number): Promise<Killable> {
  const relay = await startRelayProcess({
    appServers: [{ id: "server", port: appServerPort, services: [SERVICE] }],
    config: { limits: { perSourcePerSecond: 0 }, session: { probeS: 60 } },
  });
  return {
    port: relay.port,
    again: (downMs) => relay.again(downMs),
    async durationsMs() {
      const { code } = await relay.peer.stop(40_000);
      if (code !== 0) throw new Error(`the relay ended with ${code}:\n${relay.peer.output()}`);
      const store = await openEmbeddedStore(join(relay.folder, "data/store"));
      const bill = await makeBill(store, "alice", monthOf(Date.now()), { maxEntries: 1_000_000 });
      await store.close();
      const sessions = bill.services.flatMap((service) => service.sessions);
      return sessions.flatMap(({ time }) => (time?.endedBy === "client" ? [time.durationMs] : []));
    },
    remove: () => relay.remove(),
  };
}
