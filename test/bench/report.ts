import type { KillFigures } from "./kill.ts";
import type { LatencyFigures } from "./latency.ts";
import type { MemoryFigures, MemoryNow } from "./memory.ts";
import type { RateFigures } from "./rates.ts";
import type { SystemName } from "./systems.ts";

export interface Report {
  readonly machine: { readonly cpu: string; readonly cores: number; readonly node: string };
  readonly load: string;
  /** Its version; null: it was not measured, `kamailioMissing` says why. */
  readonly kamailio: string | null;
  readonly kamailioMissing: string | null;
  /** Why the relay was not measured over NATS and MongoDB; null: it was. */
  readonly clusterMissing: string | null;
  readonly seconds: number;
  /** How often each rate was put on each system. */
  readonly rounds: number;
  readonly rates: readonly RateFigures[];
  /** The relay by itself and over NATS and MongoDB, under the same load in turn. */
  readonly cluster: readonly RateFigures[];
  readonly latency: readonly LatencyFigures[];
  readonly memory: readonly MemoryFigures[];
  /** What outlives kill -9. */
  readonly killed: readonly KillFigures[];
}

/** The report for people. */
export function print(report: Report): void {
  const { machine, load, kamailio, kamailioMissing } = report;
  const lines = [
    "",
    `Tollgate on Node ${machine.node}, one process; load from ${load}, both ends on this machine too: ${machine.cores} cores of ${machine.cpu} for all of them.`,
    kamailio === null
      ? `Kamailio: ${kamailioMissing}.`
      : `Kamailio ${kamailio} with one worker (ops/bench/kamailio.cfg), under the same load in turn.`,
    ...rateLines(report),
    ...clusterLines(report),
    ...latencyLines(report.latency),
    ...memoryLines(report.memory),
    ...killLines(report.killed),
    "",
  ];
  console.log(lines.join("\n"));
}

function rateLines({ rates, seconds, rounds }: Report): string[] {
  const lines = [
    "",
    `Calls over UDP, a digest challenge on each, ${seconds} s a rate${rounds > 1 ? `, ${rounds} times in turn` : ""}. CPU is what /proc says; in brackets as a multiple of what the answering side used in the same seconds, which leaves out how fast the machine was just then.`,
  ];
  if (seconds < 10)
    lines.push("A short run: node's compiler has not seen all of the relay's code, which costs more until it has.");
  lines.push(row("calls/s", "tollgate µs a call", "kamailio µs a call", "tollgate / kamailio"));
  for (const rate of new Set(rates.map((one) => one.rate))) {
    const own = rates.find((one) => one.rate === rate && one.system === "tollgate");
    const other = rates.find((one) => one.rate === rate && one.system === "kamailio");
    lines.push(row(String(rate), cell(own), cell(other), own && other ? ratios(own, other) : "-"));
  }
  for (const system of ["tollgate", "kamailio"] as const) {
    const own = rates.filter((one) => one.system === system);
    if (own.length === 0) continue;
    const held = Math.max(0, ...own.filter((one) => one.held).map((one) => one.rate));
    const next = own.find((one) => !one.held);
    const stopped = next
      ? `; at ${next.rate}: ${next.failed} failed, ${next.retransmissions} retransmissions${next.loadKeptUp ? "" : ", the load did not keep up"}`
      : ", and nothing higher was tried";
    lines.push(`${system} held ${held} calls a second without a failure or a retransmission${stopped}.`);
  }
  return lines;
}

/** What it costs the relay that events go over NATS and bills lie in MongoDB. */
function clusterLines({ cluster, clusterMissing }: Report): string[] {
  if (clusterMissing !== null) return ["", `Over NATS and MongoDB: ${clusterMissing}.`];
  const lines = [
    "",
    "Over NATS JetStream and MongoDB, with a billing worker; in brackets as a multiple of what the answering side used.",
  ];
  lines.push(row("calls/s", "embedded µs a call", "over NATS µs a call", "over NATS / embedded"));
  for (const one of cluster) {
    if (one.system !== "tollgate-cluster") continue;
    const embedded = cluster.find(({ system, rate }) => system === "tollgate" && rate === one.rate);
    lines.push(row(String(one.rate), cell(embedded), cell(one), embedded ? ratios(one, embedded) : "-"));
    lines.push(`The billing worker took ${(one.workerUsPerCall ?? 0).toFixed(0)} µs of CPU a call.`);
  }
  return lines;
}

const ratios = (one: RateFigures, other: RateFigures) =>
  `${(one.cpuUsPerCall / other.cpuUsPerCall).toFixed(2)} (${(one.ratioToAnswering / other.ratioToAnswering).toFixed(2)})`;

const cell = (one: RateFigures | undefined) =>
  one === undefined
    ? "-"
    : `${one.cpuUsPerCall.toFixed(0)} (${one.ratioToAnswering.toFixed(1)} x)${one.held ? "" : " not held"}`;

function latencyLines(figures: readonly LatencyFigures[]): string[] {
  return figures.filter((one) => one.system === "direct").flatMap((direct) => latencyAt(direct, figures));
}

function latencyAt(direct: LatencyFigures, all: readonly LatencyFigures[]): string[] {
  const figures = all.filter(({ rate }) => rate === direct.rate);
  const lines = [
    "",
    `From the INVITE with credentials, at ${direct.rate} calls a second, milliseconds; what is added to the two ends alone.`,
  ];
  lines.push(row("", "to the 180: p50, p99", "to the 200: p50, p99", ""));
  lines.push(
    row(
      "the two ends alone",
      `${ms(direct.ringing.p50)}, ${ms(direct.ringing.p99)}`,
      `${ms(direct.answer.p50)}, ${ms(direct.answer.p99)}`,
      "",
    ),
  );
  for (const one of figures) {
    if (one === direct) continue;
    const added = (what: "ringing" | "answer") =>
      `+${ms(one[what].p50 - direct[what].p50)}, +${ms(one[what].p99 - direct[what].p99)}`;
    const { longestWaitMs: stood } = one;
    const loop = stood === undefined ? "" : `its loop stood still for ${ms(stood)} at most`;
    lines.push(row(one.system, added("ringing"), added("answer"), loop));
  }
  return lines;
}

function memoryLines(figures: readonly MemoryFigures[]): string[] {
  const first = figures[0];
  if (!first) return [];
  const lines = [
    "",
    `${first.sessions} sessions held, their transactions over; anonymous and shared memory (of Tollgate with a young generation of 1 MB), and the heap in use after a collection.`,
  ];
  for (const one of figures) {
    const heap = one.heapBytesPerSession === null ? "" : `, ${kB(one.heapBytesPerSession)} of heap`;
    const failed = one.failed === 0 ? "" : `; ${one.failed} calls failed`;
    lines.push(
      `${NAMES[one.system]}: ${kB(one.bytesPerSession)} of memory a session${heap}. The process: ${now(one.before)} before, ${now(one.held)} with them, ${now(one.after)} when they had ended${failed}.`,
    );
  }
  return lines;
}

export function killLines(figures: readonly KillFigures[]): string[] {
  const [first] = figures;
  if (!first) return [];
  const lines = [
    "",
    `kill -9 while ${first.udp} sessions over UDP and ${first.tcp} over TCP stand, and a new start ${first.downMs} ms later; each lasts ${first.holdMs / 1000} s. Kamailio keeps its dialogs in SQLite, from which its workers lock each other out now and then: what it has no record of may be that, not the kill.`,
  ];
  for (const one of figures) {
    const calls = one.udp + one.tcp;
    const { hungUp } = one;
    lines.push(
      `${one.system}: away for ${(one.awayMs / 1000).toFixed(1)} s; ${hungUp.udp + hungUp.tcp} of ${calls} hung up by themselves (${hungUp.udp} over UDP, ${hungUp.tcp} over TCP), ${one.recorded} are on record, ${one.toTheSecond} of them to the second.`,
    );
  }
  return lines;
}

const NAMES: Record<SystemName, string> = {
  tollgate: "tollgate",
  "tollgate-cluster": "tollgate over NATS and MongoDB",
  kamailio: "kamailio",
  direct: "the two ends alone",
};
const row = (...cells: readonly string[]) =>
  `  ${cells.map((text, i) => (i === 0 ? text.padEnd(19) : text.padEnd(24))).join("")}`.trimEnd();
const ms = (value: number) => value.toFixed(2);
const kB = (bytes: number) => `${(bytes / 1000).toFixed(1)} kB`;
const now = ({ bytes, heapBytes }: MemoryNow) =>
  `${(bytes / 1e6).toFixed(0)} MB${heapBytes === null ? "" : ` (heap ${(heapBytes / 1e6).toFixed(0)})`}`;
