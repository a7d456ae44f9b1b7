import { join, relative } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { Chance } from "../simulation/chance.ts";
import { COMMAND, ROOT } from "../support/project.ts";
import { Audit } from "./audit.ts";
import { Callers } from "./callers.ts";
import { Ledger, timeOf } from "./calls.ts";
import { Machine } from "./machine.ts";
import { type NodeProcess, type Platform, startPlatform } from "./nodes.ts";
import { compare, euros, percentile, type Report } from "./report.ts";
import { SDK_OVER_MS, SdkCallers } from "./sdk-callers.ts";
import { Shop } from "./shop.ts";
import { draw, STEPS } from "./steps.ts";
import { Ways } from "./ways.ts";

export interface ChaosOptions {
  readonly seed: number;
  /** Calls a second, how many of them stand on average, and for how long calls are made. */
  readonly rate: number;
  readonly standing: number;
  readonly seconds: number;
  /** So long nothing is done between two steps. */
  readonly everyS: number;
  readonly nodes: number;
  readonly nats: number;
  readonly workers: number;
  /** Whether nodes hear each other without NATS, too. If not, a node without NATS is silent. */
  readonly direct: boolean;
  /**
   * A folder with another release, built. Each start of a process takes that one or this one, so that both are in the
   * cluster, and sessions go from one to the other and back. Undefined: all are of this one.
   */
  readonly beside?: string | undefined;
  /** A folder for what the nodes say; undefined: it is not kept. */
  readonly logs?: string | undefined;
  /** The names of the steps that are taken; undefined: all. */
  readonly steps?: readonly string[] | undefined;
  /** Of a hundred calls, how many come over TCP, from clients made with the SDK. */
  readonly tcp: number;
  /** How often something is said and charged in a session. */
  readonly talkMs: number;
  /** Of what happens. */
  readonly say: (line: string) => void;
}

const numbered = (name: string, many: number) => Array.from({ length: many }, (_, i) => `${name}${i}`);
/** Calls that are over still answer what is sent again. */
const LINGER_MS = 3_000;
/** A session in which so many requests in turn are refused is of no use. */
const MOST_ODD = 10;
/**
 * Three of ten prepaid users run dry soon, so that overspending would be seen; the others' calls are to go on. They are
 * so many since all that is held and paid of one user is in one document of the store.
 */
const PREPAID = 50;
const balanceOf = (user: string): string => (Number(user.replace(/\D/g, "")) % 10 < 3 ? "5.00" : "20000.00");

/** Plays a run from its seed. */
export async function play(options: ChaosOptions): Promise<Report> {
  const { seed, rate, standing, seconds, nodes, nats, workers, direct, talkMs, tcp, say } = options;
  const [forFaults, forCalls, forShop] = [new Chance(seed), new Chance(seed + 1), new Chance(seed + 2)];
  const forTcp = new Chance(seed + 3);
  const ledger = new Ledger();
  const forReleases = new Chance(seed + 4);
  const { beside } = options;
  const release = () =>
    beside !== undefined && forReleases.percent(50) ? join(beside, relative(ROOT, COMMAND)) : COMMAND;
  const users = { postpaid: numbered("post", 20), prepaid: numbered("pre", PREPAID), balanceOf };
  let platform: Platform | undefined;
  const audit = new Audit(() => platform?.nodes ?? [], { silentWhenCut: !direct });
  const holdMs = (standing / rate) * 1_000;
  const common = { audit, ledger, holdMs };
  const shop = await Shop.open({ ...common, chance: forShop, ringMs: 500, chargeMs: talkMs, hangsUp: 30 });
  try {
    platform = await startPlatform({
      ...users,
      nodes,
      nats,
      workers,
      direct,
      release,
      logs: options.logs,
      appServerPort: shop.port,
    });
    const ports = platform.nodes.map(({ port }) => port);
    shop.ways = new Ways(ports, forShop);
    const callers = await Callers.open({
      ...common,
      ...users,
      chance: forCalls,
      ways: new Ways(ports, forCalls),
      talkMs,
    });
    const sdk = new SdkCallers({ ...users, ports, ledger, chance: forTcp, holdMs });
    say(
      `${nodes} nodes, ${nats} NATS, ${workers} billing workers${direct ? "" : ", no beats but by NATS"}; seed ${seed}`,
    );
    const machine = new Machine();
    const until = Date.now() + seconds * 1_000;
    const done: string[] = [];
    await Promise.all([
      load(() => (forTcp.percent(tcp) ? sdk : callers).call(), rate, until),
      disturb(platform, options, forFaults, until, (what) => {
        done.push(what);
        say(`${timeOf(Date.now())} ${what}; ${soFar(ledger, callers.standingNow + sdk.standingNow)}`);
      }),
    ]);
    const used = machine.end();
    say(`${timeOf(Date.now())} all hang up; ${soFar(ledger, callers.standingNow + sdk.standingNow)}`);
    callers.hangUpAll();
    sdk.hangUpAll();
    const overBy = Date.now() + SDK_OVER_MS;
    while ((callers.under + sdk.under > 0 || shop.left > 0) && Date.now() < overBy) await pause(100);
    const hanging = { client: callers.under + sdk.under, server: shop.left };
    await pause(LINGER_MS);
    const left = await leftAtNodes(platform.nodes);
    await platform.drained(120_000, say);
    const money = await compare(ledger, platform, users);
    if (money.unbilled.size > 0) for (const line of await platform.kept(money.unbilled)) say(line);
    callers.close();
    const { offered, answered } = sdk;
    await sdk.close();
    return reportOf(ledger, audit, money, { hanging, left, done, used, platform, tcp: { offered, answered } });
  } finally {
    shop.close();
    await platform?.destroy();
  }
}

/**
 * A number that stand says little by itself: if no new calls are answered, those that stand end one after the other.
 */
function soFar({ offered, calls }: Ledger, standingNow: number): string {
  let [answered, lost] = [0, 0];
  for (const call of calls) {
    if (call.ackedAt === undefined) continue; // for its client, the call was never there
    answered++;
    if (call.lost !== undefined) lost++;
  }
  return `${offered} offered, ${answered} answered, ${standingNow} stand, ${lost} lost`;
}

async function load(call: () => void, rate: number, until: number): Promise<void> {
  const startedAt = Date.now();
  for (let made = 0; Date.now() < until; ) {
    const due = Math.floor(((Date.now() - startedAt) / 1_000) * rate) + 1;
    for (; made < due; made++) call();
    await pause(10);
  }
}

async function disturb(
  platform: Platform,
  { everyS, steps }: ChaosOptions,
  chance: Chance,
  until: number,
  say: (what: string) => void,
): Promise<void> {
  const known = STEPS.filter(({ name }) => steps === undefined || steps.includes(name));
  const waitMs = () => everyS * 1_000 * (0.5 + chance.next());
  for (let waits = waitMs(); Date.now() + waits + 5_000 < until; waits = waitMs()) {
    await pause(waits);
    const drawn = draw(chance, known, platform);
    say(drawn.map(([{ name, target }, on]) => `${name} ${target} ${on}`).join(", and "));
    await Promise.all(drawn.map(([step, on]) => step.act(platform, on, chance)));
  }
}

/** What a node must not have any more when nobody is in a session: actors, copies, timers, events, promises. */
const HELD = [
  ...["sessions", "requests_under_way", "transfers_under_way", "transactions", "timers", "call_records_open"],
  ...["cluster_standbys", "cluster_copied", "cluster_events_copied", "byes_unanswered", "records_waiting"],
  ...["journal_pending_events", "users_with_sessions"],
] as const;
/** Transactions absorb what comes again for 64*T1. */
const FORGOTTEN_WITHIN_MS = 45_000;

/** What the nodes say that they still have: nobody is in a session any more. */
async function leftAtNodes(nodes: readonly NodeProcess[]): Promise<string[]> {
  let left: string[] = [];
  for (const until = Date.now() + FORGOTTEN_WITHIN_MS; Date.now() < until; await pause(1_000)) {
    left = [];
    for (const node of nodes)
      for (const name of HELD) {
        const many = await node.metric(name);
        if (many !== 0) left.push(`${node.name} has ${many} ${name.replaceAll("_", " ")}`);
      }
    if (left.length === 0) break;
  }
  return left;
}

function reportOf(
  ledger: Ledger,
  audit: Audit,
  money: Awaited<ReturnType<typeof compare>>,
  rest: {
    readonly hanging: { readonly client: number; readonly server: number };
    readonly left: readonly string[];
    readonly done: readonly string[];
    readonly used: string;
    readonly platform: Platform;
    readonly tcp: { readonly offered: number; readonly answered: number };
  },
): Report {
  const { hanging, left, done, used, platform, tcp } = rest;
  const { calls, waits } = ledger;
  const answered = calls.filter(({ ackedAt }) => ackedAt !== undefined);
  const ended = (by: string) => answered.filter(({ hungUp }) => hungUp === by).length;
  const relay = new Map<string, number>();
  for (const { ended: why, hungUp } of answered)
    if (why !== undefined && hungUp === undefined) relay.set(why, (relay.get(why) ?? 0) + 1);
  const lost = answered.filter(({ lost }) => lost !== undefined);
  const half = answered.filter((call) => call.serverOverAt === undefined && call.confirmedAt !== undefined);
  const within = waits.filter(({ what }) => what !== "INVITE").map(({ ms }) => ms);
  const setUp = waits.filter(({ what }) => what === "INVITE").map(({ ms }) => ms);
  const worst = waits.toSorted((a, b) => b.ms - a.ms).slice(0, 3);
  const ms = (values: readonly number[]) =>
    `p50 ${percentile(values, 50)} ms, p99 ${percentile(values, 99)} ms, worst ${percentile(values, 100)} ms`;
  const table = (map: ReadonlyMap<string, number>) =>
    [...map].map(([what, many]) => `${what}: ${many}`).join(", ") || "none";
  const complaints = new Map<string, number>();
  for (const line of [...platform.nodes, ...platform.workers].flatMap(({ complaints: all }) => all)) {
    const text = /"msg":"([^"]*)"/.exec(line)?.[1] ?? line.slice(0, 200);
    complaints.set(text, (complaints.get(text) ?? 0) + 1);
  }
  const lines = [
    used,
    `steps: ${done.length}`,
    `calls offered ${ledger.offered}, answered ${answered.length}, not answered: ${table(ledger.failed)}`,
    `of these over TCP (SDK, Digest): ${tcp.offered} offered, ${tcp.answered} answered`,
    `ended by the client ${ended("client")}, by the app server ${ended("server")}, by the relay: ${table(relay)}`,
    `answered by a second node, too: ${ledger.surplus}; other answers within sessions: ${table(ledger.odd)}`,
    `established sessions lost: ${lost.length}`,
    `charges answered ${money.answered} (${euros(money.answeredSum)} EUR), of these billed ${money.billed} (${euros(money.billedSum)} EUR)`,
    `sessions served ${money.sessions}, with time on the bill ${money.billedSessions}`,
    `prepaid users who spent more than they had: ${money.overspent.length}`,
    `double owners seen at the wire: ${audit.faults.length}`,
    `silence within sessions: ${ms(within)}; of calls: ${ms(setUp)}`,
    `longest: ${worst.map(({ ms: long, what, at }) => `${what} ${long} ms at ${timeOf(at)}`).join("; ")}`,
    `left at the end: ${hanging.client} calls at clients, ${hanging.server} at the app server; ${left.join("; ") || "nothing at the nodes"}`,
    `errors in the logs: ${table(complaints)}`,
  ];
  const faults = [
    ...lost.map(({ lost: why, callId, session, user }) => `lost: ${why} (${callId}, ${session}, ${user})`),
    ...money.overspent,
    ...money.faults,
    ...audit.faults,
    ...left,
    ...answered
      .filter(({ odd = 0 }) => odd > MOST_ODD)
      .map((call) => `refused again and again: ${JSON.stringify(call)}`),
    ...(hanging.client + hanging.server > 0
      ? [`${hanging.client} clients and ${hanging.server} app servers' sessions hang`]
      : []),
    ...half.map(({ callId, session }) => `half open: the app server never heard the end of ${session} (${callId})`),
  ];
  return { lines, faults };
}
