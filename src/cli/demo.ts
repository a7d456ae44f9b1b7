import type { Entry } from "../charging/billing/store.ts";
import { type Bill, makeBill } from "../charging/bills/bill.ts";
import { formatBill } from "../charging/bills/format-bill.ts";
import { monthOf } from "../charging/money/months.ts";
import type { Config } from "../config/schema.ts";
import { systemClock } from "../support/clock.ts";
import { withStore } from "./context.ts";
import { checkBill } from "./demo/bill-check.ts";
import { Checks } from "./demo/checks.ts";
import type { Cluster } from "./demo/cluster.ts";
import { type Lane, labelOf } from "./demo/ladder.ts";
import { Printer } from "./demo/printer.ts";
import { NODE_KILLED, PROGRAM } from "./demo/program.ts";
import type { Direction, Measured } from "./demo/scenes.ts";
import type { Passed } from "./demo/second-node.ts";
import { type Stage, setStage } from "./demo/stage.ts";

const MOST_MS = 20_000;
/** The limit if servers are started for the demo. */
const CLUSTER_MOST_MS = 60_000;
const CLOSE_MS = 3_000;
const SETTLE_MS = 1_000;

export interface DemoOptions {
  /** Where to print; default standard output. Colours and box characters only where it is a terminal. */
  readonly out?: NodeJS.WritableStream & { readonly isTTY?: boolean };
  /** One JSON document at the end instead of ladders and text. */
  readonly json?: boolean;
  /**
   * The same over NATS JetStream and MongoDB, with a billing worker beside the relay; see `openCluster` for which
   * servers.
   */
  readonly cluster?: boolean;
  /**
   * Leaves everything running at the end, prints the address of the console, and ends when this resolves; then the bill
   * comes. Undefined: no console.
   */
  readonly console?: Promise<void>;
  /** Where NATS_URL, MONGODB_URL and PATH are looked for; default the process's. */
  readonly env?: NodeJS.ProcessEnv;
}

/**
 * Runs a relay, app servers and a client on this machine, on real sockets and a data folder of their own: a visit to a
 * wine shop, an English lesson, two requests that are refused; another service within a session, moves to another one,
 * two book shops at once; in a cluster a lesson whose node is killed; and the bill. Resolves to the exit code: 0 where
 * all was as expected, else 1 with what was not.
 */
export async function demo(options: DemoOptions = {}): Promise<number> {
  const { out = process.stdout, json = false, cluster = false, env = process.env } = options;
  const mostMs = cluster ? CLUSTER_MOST_MS : MOST_MS;
  const printer = new Printer(json ? () => {} : (line) => void out.write(`${line}\n`), !json && out.isTTY === true);
  const checks = new Checks();
  const play: Play = { printer, checks, step: "starting", over: false, bills: [] };
  let started = systemClock.monotonic();
  try {
    const late = () => `it took too long: the demo has ${mostMs / 1000} s`;
    const bill = await inTime(mostMs, perform(play, cluster ? env : undefined), late);
    if (options.console) {
      await showConsole(play, options.console);
      started = systemClock.monotonic(); // what people looked at took as long as they liked
    }
    await inTime(mostMs, bill(), late);
  } catch (error) {
    play.over = true;
    checks.that(false, `${play.step}: ${error instanceof Error ? error.message : String(error)}`);
  }
  const close = async () => {
    await play.stage?.close();
    await play.cluster?.close();
  };
  await inTime(CLOSE_MS, close(), () => "").catch((error) => {
    checks.that(
      false,
      `shutting down: ${error instanceof Error && error.message !== "" ? error.message : "it took too long"}`,
    );
  });
  for (const line of play.stage?.log ?? []) if (checks.failures.length > 0) printer.say(`relay: ${line}`);
  if (json) out.write(`${JSON.stringify(document(play, systemClock.monotonic() - started), null, 2)}\n`);
  else conclude(play, systemClock.monotonic() - started);
  return checks.failures.length === 0 ? 0 : 1;
}

interface Play {
  readonly printer: Printer;
  readonly checks: Checks;
  /** The step that is under way, for the message when it fails. */
  step: string;
  /** The demo has failed or took too long: what still runs must not go on to the next step. */
  over: boolean;
  cluster?: Cluster;
  stage?: Stage;
  bills: readonly Bill[];
}

/** Plays all scenes. Resolves to what stops the relay then, prints the bill and checks it. */
async function perform(play: Play, env: NodeJS.ProcessEnv | undefined): Promise<() => Promise<void>> {
  const { printer, checks } = play;
  if (env) {
    play.cluster = await (await import("./demo/cluster.ts")).openCluster(env);
    for (const name of play.cluster.names) printer.say(name);
  }
  const startedAt = Date.now();
  const lanes = new Map<string, Lane>();
  const passed = ({ direction, peer, label, at }: Passed) => {
    const side = lanes.get(peer) ?? "client";
    if (direction === "in") printer.arrow(at, side, "relay", label);
    else printer.arrow(at, "relay", side, label);
  };
  const stage = await setStage(
    ({ message, ...rest }) => passed({ kind: "passed", label: labelOf(message), ...rest }),
    play.cluster,
  );
  play.stage = stage;
  if (play.over) {
    await stage.close(); // the demo is over, and nobody else closes it
    await play.cluster?.close();
  }
  const servers = Object.entries(stage.servers);
  printer.say(`A relay on ${stage.relay}${env ? ", a billing worker" : ""}, and app servers:`);
  for (const [id, { uri }] of servers) printer.say(`  ${id.padEnd(12)} ${uri}`);

  const direction: Direction = {
    checks,
    direct: (from, to, label) => printer.arrow(Date.now(), from, to, label),
    passed,
    note: (text) => printer.note(text),
    relayed: (to, label, times = 1) => printer.drawn("relay", to, label, times, SETTLE_MS),
    hasRelayed: (to, label) => printer.hasDrawn("relay", to, label),
    exchanged: (side, count) => printer.settled(side, count, SETTLE_MS),
  };
  const measured = new Map<string, Measured>();
  for (const scene of env ? [...PROGRAM, NODE_KILLED] : PROGRAM) {
    begin(play, scene.step);
    for (const [id, { port }] of servers) lanes.set(`127.0.0.1:${port}`, id === scene.second ? "second" : "server");
    printer.scene(scene.title, scene.columns);
    const result = await scene.play(stage, direction);
    if (result) measured.set(scene.step, result);
  }
  printer.say();

  return async () => {
    begin(play, "the bill");
    const config = await stage.finish();
    const { entries, bills } = await readBills(config, stage.user, startedAt);
    play.bills = bills;
    for (const bill of bills) for (const line of formatBill(bill).split("\n")) printer.say(line);
    const lessons = { lesson: measured.get("the English lesson")!, killed: measured.get(NODE_KILLED.step) };
    checkBill(entries, bills, lessons, checks);
  };
}

/** Leaves everything running, with the console, until `until` resolves. */
async function showConsole(play: Play, until: Promise<void>): Promise<void> {
  begin(play, "the console");
  const { openConsole } = await import("./open-console.ts");
  const { config, running, logger } = play.stage!;
  const opened = await openConsole(config, running, logger);
  play.printer.say("The relay goes on, with these calls on record. See them go through their charts, and place one:");
  play.printer.say(`  ${opened.url}`);
  play.printer.say("Ctrl-C ends it, and prints the bill.");
  await until;
  await opened.close();
  play.printer.say();
}

function begin(play: Play, step: string): void {
  if (play.over) throw new Error("the demo is over");
  play.step = step;
}

/** What the store has billed: of two months, if the demo ran over midnight at the end of a month. */
async function readBills(config: Config, user: string, since: number): Promise<{ entries: Entry[]; bills: Bill[] }> {
  const months = [...new Set([monthOf(since), monthOf(Date.now())])];
  return withStore(config, async (store) => {
    const pages = await Promise.all(months.map((month) => store.billing.entries(user, month, { limit: 100 })));
    const bills = await Promise.all(months.map((month) => makeBill(store, user, month)));
    return { entries: pages.flatMap(({ entries }) => entries), bills };
  });
}

function conclude(play: Play, elapsedMs: number): void {
  const { printer, checks } = play;
  const took = `${(elapsedMs / 1000).toFixed(1)} s`;
  if (checks.failures.length === 0) {
    printer.say(`All as expected: ${checks.passed} checks, ${took}.`);
    return;
  }
  const count = checks.failures.length === 1 ? "1 thing was" : `${checks.failures.length} things were`;
  printer.say(`${count} not as expected (${checks.passed} checks passed, ${took}):`);
  for (const failure of checks.failures) printer.say(`  - ${failure}`);
}

function document({ checks, printer, bills }: Play, elapsedMs: number) {
  const { failures, passed } = checks;
  return { ok: failures.length === 0, elapsedMs, checks: passed, failures, scenes: printer.scenes, bills };
}

/** Rejects when `work` takes longer, with the text that `why` returns. */
async function inTime<T>(ms: number, work: Promise<T>, why: () => string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(why())), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
