import { execFileSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { Bill } from "../../src/charging/bills/bill.ts";
import { SERVICE } from "../bench/load.ts";
import { nodeLoad } from "../bench/node-load.ts";
import { memoryBytes } from "../bench/proc.ts";
import { certificateFolder } from "../support/certificates.ts";
import { freePort } from "../support/peers.ts";
import { COMMAND } from "../support/project.ts";
import { startRelayProcess } from "../support/relay-process.ts";
import { type Charged, clients, httpShop, keepGoing, sipShop } from "./flows.ts";

/*
 * The soak: mixed flows over all transports for a long time, with many sessions standing. It looks for what is left:
 * memory, descriptors, timers, actors, copies, charges without a bill.
 */

export type CertificateFiles = ReturnType<typeof certificateFolder>;

export interface SoakOptions {
  readonly minutes: number;
  /** Sessions that stand all the time, by UDP. */
  readonly standing: number;
  /** Flows of the SDK's clients that begin in a second. */
  readonly flows: number;
  /** Calls by UDP in a second. */
  readonly calls: number;
  readonly say: (line: string) => void;
}

export interface Check {
  readonly what: string;
  readonly is: string;
  readonly holds: boolean;
}

interface Sample {
  readonly atS: number;
  readonly memory: number;
  readonly descriptors: number;
}

const PASSWORD = "secret";
const STANDING_PER_SECOND = 100;
/**
 * The last transaction ends some 32 s after its last message (RFC 3261 §17.1.1.1, timer B), and ended sessions are kept
 * a while.
 */
const SETTLES_MS = 120_000;
const MAY_GROW = 1.1;
/** Gauges that say how much was done, or how the machine is, and not what is held. */
const NOT_HELD =
  /_(delay|clock|seconds|journal|disk|build|uptime|certificate|lag|process|nodejs|call_records|billing|usage|bytes)/;

export async function soak(options: SoakOptions): Promise<Check[]> {
  const { minutes, standing, flows, calls, say } = options;
  const charged: Charged = { count: 0 };
  const files = certificateFolder(["DNS:portal.example", "IP:127.0.0.1"]);
  const [callPort, tls, ws, wss, http] = await ports(5);
  const shop = await sipShop(["cheese", "beer", "books"], charged);
  const other = await sipShop(["books"], charged);
  const vault = await httpShop(charged);
  const port = await freePort();
  const relay = await startRelayProcess({
    appServers: [],
    config: {
      listen: [
        `udp:127.0.0.1:${port}`,
        `tcp:127.0.0.1:${port}`,
        `tls:127.0.0.1:${tls}`,
        `ws:127.0.0.1:${ws}`,
        `wss:127.0.0.1:${wss}`,
      ],
      tls: { cert: files.cert, key: files.key },
      http: { listen: `127.0.0.1:${http}` },
      identity: { url: `http://127.0.0.1:${http}` },
      services: [SERVICE, "cheese", "beer", "books", "vault"].map((id) => ({
        id,
        limits: { charge: "100", currency: "EUR" },
      })),
      appServers: [
        { id: "server", uri: `sip:127.0.0.1:${callPort}`, services: [SERVICE] },
        { id: "shop", uri: shop.uri, services: ["cheese", "beer", "books"] },
        { id: "other", uri: other.uri, services: ["books"] },
        { id: "vault", uri: vault.uri, services: ["vault"] },
      ],
      limits: { perSourcePerSecond: 0 },
    },
  });
  try {
    await relay.command(
      ["user", "add", "bob", "--password-stdin", "--prepaid", "EUR", "--balance", "100000.00"],
      `${PASSWORD}\n`,
    );
    const { pid } = relay.peer;
    const gauges = () => gaugesOf(`http://127.0.0.1:${http}/metrics`);
    const descriptors = () => readdirSync(`/proc/${pid}/fd`).length;
    const load = await nodeLoad();
    const answering = await load.answering(callPort!, false);
    const all = clients({ tcp: port, tls: tls!, ws: ws!, wss: wss! }, files, PASSWORD);
    // Once through everything, so that what is made once is there before it is counted.
    const first = keepGoing(all, 10);
    await pause(8_000);
    await first.ended();
    for (const client of all.values()) await client.close();
    await settled(gauges, undefined, say);
    const before = { gauges: await gauges(), descriptors: descriptors() };

    const holdMs = minutes * 60_000;
    const startedAt = performance.now();
    const standers =
      standing === 0 ? undefined : await load.calling({ port, rate: STANDING_PER_SECOND, calls: standing, holdMs });
    const callers = await load.calling({ port, rate: calls, calls: Math.round(calls * minutes * 60), holdMs: 2_000 });
    const again = clients({ tcp: port, tls: tls!, ws: ws!, wss: wss! }, files, PASSWORD);
    const going = keepGoing(again, flows);
    const samples: Sample[] = [];
    const everyS = Math.max(2, minutes);
    while (performance.now() - startedAt < minutes * 60_000) {
      await pause(everyS * 1_000);
      const atS = (performance.now() - startedAt) / 1_000;
      samples.push({ atS, memory: memoryBytes([pid]), descriptors: descriptors() });
      const now = await gauges();
      const { memory } = samples.at(-1)!;
      say(
        `${atS.toFixed(0)} s: ${now.get("tollgate_sessions")} sessions, ${(memory / 1e6).toFixed(0)} MB, ${descriptors()} descriptors, ` +
          `${charged.count} charges, ${sum(going.done.well)} flows well, ${sum(going.done.badly)} badly, ` +
          `calls: ${callers.counters().successful} well, ${callers.counters().failed} badly`,
      );
    }
    await going.ended();
    for (const client of again.values()) await client.close();
    const called = await callers.done;
    const stood = await standers?.done;
    const after = await settled(gauges, before.gauges, say);
    const left = [...after].filter(([name, value]) => !NOT_HELD.test(name) && value > (before.gauges.get(name) ?? 0));
    const descriptorsLeft = descriptors();
    await answering.stop();
    await relay.peer.stop(120_000);
    const bills = ["alice", "bob"].map((user) => billOf(relay.folder, user));
    // By the sums: a bill of more than 10,000 entries has no lines.
    const billed = bills
      .flatMap(({ services }) => services.flatMap(({ sums }) => sums))
      .reduce((all, { charges }) => all + charges, 0);
    const bad = Object.entries(going.done.badly).map(([name, times]) => `${times} ${name}`);
    return [
      {
        what: "every flow goes well",
        is: bad.length === 0 ? `${sum(going.done.well)} did` : bad.join("; "),
        holds: bad.length === 0,
      },
      {
        what: "every call by UDP goes well",
        is: `${called.successful} did, ${called.failed} not ${JSON.stringify(called.reasons ?? {})}`,
        holds: called.failed === 0,
      },
      {
        what: `${standing} sessions stand until they are hung up`,
        is: `${stood?.successful ?? 0} did ${JSON.stringify(stood?.reasons ?? {})}`,
        holds: (stood?.successful ?? 0) === standing,
      },
      memoryLevel(samples, standing / STANDING_PER_SECOND),
      {
        what: "no descriptor is left",
        is: `${descriptorsLeft} after, ${before.descriptors} before`,
        holds: descriptorsLeft <= before.descriptors + 2,
      },
      {
        what: "no session, transaction, timer, actor, copy is left",
        is: left.length === 0 ? "none" : left.map(([name, value]) => `${name} ${value}`).join(", "),
        holds: left.length === 0,
      },
      {
        what: "every charge is billed",
        is: `${billed} of ${charged.count}`,
        holds: billed === charged.count,
      },
    ];
  } finally {
    await relay.remove();
    await Promise.all([shop.close(), other.close(), vault.close()]);
  }
}

/** Its text is too long for the output that is kept of other processes. */
function billOf(folder: string, user: string): Bill {
  const config = join(folder, "tollgate.yaml");
  const text = execFileSync(process.execPath, [COMMAND, "bill", user, "--json", "--config", config], {
    maxBuffer: 2 ** 29,
  });
  return JSON.parse(String(text)) as Bill;
}

/** From when all sessions stand and the heap has its size: ten minutes, or a third of a shorter run. */
function memoryLevel(samples: readonly Sample[], standFromS: number): Check {
  const endS = samples.at(-1)?.atS ?? 0;
  const fromS = Math.max(standFromS, Math.min(600, endS / 3));
  const level = samples.filter(({ atS }) => atS >= fromS).map(({ memory }) => memory);
  const part = Math.max(1, Math.floor(level.length / 3));
  const median = (of: readonly number[]) => [...of].sort((a, b) => a - b)[Math.floor(of.length / 2)] ?? 0;
  const [first, last] = [median(level.slice(0, part)), median(level.slice(-part))];
  return {
    what: `memory is level from ${fromS.toFixed(0)} s on`,
    is: `${(first / 1e6).toFixed(0)} MB, then ${(last / 1e6).toFixed(0)} MB`,
    holds: level.length >= 2 && last <= MAY_GROW * first,
  };
}

/** Waits until no gauge is above what it was, or nothing changes any more; then all gauges. */
async function settled(
  gauges: () => Promise<Map<string, number>>,
  before: Map<string, number> | undefined,
  say: (line: string) => void,
): Promise<Map<string, number>> {
  const until = performance.now() + SETTLES_MS;
  say("waiting until all is over");
  for (;;) {
    const now = await gauges();
    const left = [...now].filter(([name, value]) => !NOT_HELD.test(name) && value > (before?.get(name) ?? 0));
    const isOver = before
      ? left.length === 0
      : now.get("tollgate_transactions") === 0 && now.get("tollgate_sessions") === 0;
    if (isOver || performance.now() > until) return now;
    await pause(1_000);
  }
}

async function gaugesOf(url: string): Promise<Map<string, number>> {
  const text = await (await fetch(url, { headers: { connection: "close" } })).text();
  const names = new Set(Array.from(text.matchAll(/^# TYPE (\S+) gauge$/gm), ([, name]) => name!));
  const found = new Map<string, number>();
  for (const [, name, labels = "", value] of text.matchAll(/^(\w+)(\{[^}]*\})? (\S+)$/gm))
    if (names.has(name!)) found.set(name! + labels, Number(value));
  return found;
}

const ports = async (many: number): Promise<number[]> => {
  const found = new Set<number>();
  while (found.size < many) found.add(await freePort());
  return [...found];
};

const sum = (of: Readonly<Record<string, number>>) => Object.values(of).reduce((all, one) => all + one, 0);
