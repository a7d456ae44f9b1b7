import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { freePort, type Peer, run } from "../support/peers.ts";
import { type SippOptions, sippClient, sippServer } from "../support/sipp.ts";
import type { Called, Calling, CallingOptions, Counters, Load } from "./load.ts";
import { SERVICE } from "./load.ts";

/* The load made by SIPp with the scenarios of ops/sipp. */

/** A burst waits in the socket; a lost packet would count as a retransmission. */
const BUFFER_BYTES = "4194304";

export async function sippLoad(folder: string): Promise<Load> {
  const version = /SIPp (v[\d.]+)/.exec(await run("sipp", "sh", ["-c", "sipp -v || true"]))?.[1] ?? "";
  let runs = 0;
  const statistics = () => join(folder, `statistics-${++runs}.csv`);
  return {
    name: `SIPp ${version}`,
    async answering(port, challenging) {
      const file = statistics();
      const peer = await sippServer({
        ...common(folder, file),
        scenario: challenging ? "server-challenge" : "server-call",
        port,
        calls: 100_000_000,
        holdMs: 1,
        timeoutS: 7_200,
      });
      return {
        pid: peer.pid,
        counters: () => counters(file),
        async stop() {
          if (peer.exited)
            throw new Error(
              `${peer.name} ended by itself (${peer.exited.code ?? peer.exited.signal}):\n${peer.output().slice(-3_000)}`,
            );
          await peer.stop();
        },
      };
    },
    async calling(options) {
      const file = statistics();
      const messages = join(folder, `messages-${runs}.csv`);
      const startedAt = Date.now();
      const peer = await client(options, folder, file, messages);
      return {
        pid: peer.pid,
        counters: () => counters(file),
        done: ended(peer, startedAt, file, messages, options),
      } satisfies Calling;
    },
  };
}

const common = (folder: string, statistics: string): Pick<SippOptions, "folder" | "trace" | "more"> => ({
  folder,
  trace: false,
  more: ["-buff_size", BUFFER_BYTES, "-trace_stat", "-stf", statistics, "-fd", "1"],
});

async function client(options: CallingOptions, folder: string, statistics: string, messages: string): Promise<Peer> {
  const base = common(folder, statistics);
  return sippClient({
    ...base,
    scenario: "client-call",
    service: SERVICE,
    port: await freePort(),
    remotePort: options.port,
    calls: options.calls,
    rate: options.rate,
    holdMs: options.holdMs,
    timeoutS: Math.ceil(options.calls / options.rate + options.holdMs / 1000) + 60,
    more: [...base.more!, ...(options.latencies ? ["-trace_shortmsg", "-shortmessage_file", messages] : [])],
  });
}

async function ended(
  peer: Peer,
  startedAt: number,
  file: string,
  messages: string,
  options: CallingOptions,
): Promise<Called> {
  const { code } = await peer.exit;
  const seconds = (Date.now() - startedAt) / 1000;
  const counted = counters(file);
  // 1: at least one call failed; anything else: no such run.
  if (code !== 0 && code !== 1) throw new Error(`${peer.name} ended with ${code}:\n${peer.output().slice(-2_000)}`);
  const times = options.latencies ? latencies(readFileSync(messages, "utf8")) : { ringingMs: [], answerMs: [] };
  for (const used of [file, messages]) rmSync(used, { force: true });
  return { ...counted, failed: options.calls - counted.successful, seconds, ...times };
}

/** The last whole line of SIPp's statistics. */
function counters(file: string): Counters {
  if (!existsSync(file)) return { current: 0, successful: 0, failed: 0, retransmissions: 0 };
  const lines = readFileSync(file, "utf8").split("\n");
  const names = lines[0]!.split(";");
  const values = lines[lines.length - 2]!.split(";");
  const of = (name: string) => Number(values[names.indexOf(name)]) || 0;
  return {
    current: of("CurrentCall"),
    successful: of("SuccessfulCall(C)"),
    failed: of("FailedCall(C)"),
    retransmissions: of("Retransmissions(C)"),
  };
}

/**
 * Out of SIPp's short message trace: date; time; seconds since 1970 with microseconds; S or R; Call-ID; CSeq; first
 * line; with tabs between.
 */
export function latencies(trace: string): Pick<Called, "ringingMs" | "answerMs"> {
  const asked = new Map<string, number>();
  const ringing = new Map<string, number>();
  const answer = new Map<string, number>();
  for (const line of trace.split("\n")) {
    const [, , stamp, direction, callId, cseq, first] = line.split("\t");
    if (cseq !== "CSeq:2 INVITE" || callId === undefined || first === undefined) continue;
    const at = Number(stamp) * 1000;
    if (direction === "S") asked.set(callId, at);
    else if (first.startsWith("SIP/2.0 180")) ringing.set(callId, at);
    else if (first.startsWith("SIP/2.0 200")) answer.set(callId, at);
  }
  const since = (times: Map<string, number>) =>
    [...times].flatMap(([callId, at]) => (asked.has(callId) ? [at - asked.get(callId)!] : []));
  return { ringingMs: since(ringing), answerMs: since(answer) };
}
