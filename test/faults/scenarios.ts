import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { chargeAmount } from "../../src/charging/events/charge-fields.ts";
import { add, formatAmount, type Money } from "../../src/charging/money/money.ts";
import { isOurs, NOT_OURS } from "../support/mongo-server.ts";
import { type Cluster, startCluster } from "./cluster.ts";
import { type Asked, chargeOf, LoadClient, type LoadOptions, LoadServer } from "./load.ts";

/** What a fault left behind: what was promised, and what is on the bills. */
export interface Report {
  readonly fault: string;
  readonly calls: number;
  /** Calls that came to a session, and lines for time on the bill. */
  readonly established: number;
  readonly billedSessions: number;
  /** Charges that were answered with 200, at once or when asked for again, and those on the bill. */
  readonly answered: number;
  readonly billed: number;
  /** Their sums, exact. */
  readonly answeredSum: string;
  readonly billedSum: string;
  /** Refused for good: they must not be on the bill. */
  readonly refused: number;
  /** What is wrong; none: nothing. */
  readonly faults: readonly string[];
}

export interface Fault {
  readonly name: string;
  /** It kills MongoDB: not where that is somebody else's. */
  readonly killsMongo?: true;
  /** Happens in the middle of the load. */
  act(cluster: Cluster, downMs: number): Promise<void>;
  /** Prepares the relay's data folder; returns it with what cleans up, or why it cannot be had here. */
  disk?(): { readonly data: string; remove(): void } | string;
}

export const FAULTS: readonly Fault[] = [
  { name: "none", act: async () => {} },
  {
    name: "NATS killed and started again",
    act: async ({ nats }, downMs) => {
      await nats.kill();
      await pause(downMs);
      await nats.start();
    },
  },
  {
    name: "MongoDB killed and started again",
    killsMongo: true,
    act: async ({ mongo }, downMs) => {
      await mongo.kill();
      await pause(downMs);
      await mongo.restart();
    },
  },
  {
    name: "NATS and MongoDB away together",
    killsMongo: true,
    act: async ({ nats, mongo }, downMs) => {
      await Promise.all([nats.kill(), mongo.kill()]);
      await pause(downMs);
      await Promise.all([nats.start(), mongo.restart()]);
    },
  },
  {
    name: "relay killed and started again",
    act: async (cluster) => {
      await cluster.killRelay();
      await pause(500);
      await cluster.startRelay();
    },
  },
  {
    name: "billing worker killed and started again",
    act: async (cluster) => {
      await cluster.killBilling();
      await pause(500);
      await cluster.startBilling();
    },
  },
  {
    name: "disk full, then free again",
    disk: smallDisk,
    act: async ({ data }, downMs) => {
      const { bavail, bsize } = statfsSync(data);
      const filler = join(data, "filler");
      // All of it: whatever the journal wants to write now fails.
      writeFileSync(filler, Buffer.alloc(Math.max(0, bavail * bsize - 8_192)));
      await pause(downMs);
      rmSync(filler);
    },
  },
];

/** A file system of its own, in memory. */
function smallDisk(): { data: string; remove(): void } | string {
  const data = mkdtempSync(join(tmpdir(), "tollgate-disk-"));
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=400m,mode=0700", "tollgate", data], { stdio: "pipe" });
  } catch (error) {
    rmSync(data, { recursive: true, force: true });
    return `a small disk cannot be mounted here: ${String((error as { stderr?: Buffer }).stderr ?? error).trim()}`;
  }
  return {
    data,
    remove: () => {
      execFileSync("umount", ["-l", data], { stdio: "pipe" });
      rmSync(data, { recursive: true, force: true });
    },
  };
}

/**
 * Plays a fault in the middle of a load and reports. What the app server was not answered, it asks for again with the
 * same id, by HTTP, until it is answered or refused. Returns text where the fault cannot be had on this machine.
 */
export async function play(fault: Fault, load: LoadOptions & { readonly downMs: number }): Promise<Report | string> {
  if (fault.killsMongo && !isOurs()) return NOT_OURS;
  const disk = fault.disk?.();
  if (typeof disk === "string") return disk;
  const server = await LoadServer.open();
  server.chargesPerCall = load.chargesPerCall;
  let cluster: Cluster | undefined;
  let client: LoadClient | undefined;
  try {
    cluster = await startCluster({ appServerPort: server.port, ...(disk && { data: disk.data }) });
    client = await LoadClient.open(cluster.sip);
    const calls = client.make(load);
    await pause((load.seconds * 1000) / 3);
    await fault.act(cluster, load.downMs);
    await calls;
    await cluster.drained(DRAINED_MS);
    await askAgain(cluster, server.asked);
    await cluster.drained(DRAINED_MS);
    return await report(fault.name, load, cluster, client, server.asked);
  } catch (error) {
    throw new Error(`${fault.name}: ${(error as Error).message}\n${cluster?.output() ?? ""}`, { cause: error });
  } finally {
    client?.close();
    server.close();
    await cluster?.destroy();
    disk?.remove();
  }
}

const DRAINED_MS = 300_000;
const ASKED_AGAIN_MS = 60_000;

/** M17: whoever was not answered asks again; the same id is charged once. */
async function askAgain({ http, bearer }: Cluster, asked: readonly Asked[]): Promise<void> {
  const until = Date.now() + ASKED_AGAIN_MS;
  for (const one of asked) {
    while (one.state === "open") {
      if (Date.now() > until) throw new Error(`charge ${one.id} is neither taken nor refused`);
      const response = await fetch(`http://127.0.0.1:${http}/v1/charges`, {
        method: "POST",
        headers: { authorization: `Bearer ${bearer}`, "content-type": "application/json" },
        body: JSON.stringify({ session: one.session, charges: [chargeOf(one)] }),
      }).catch(() => undefined);
      if (response?.status === 200) one.state = "answered";
      // Its session came to nothing that is on record.
      else if (response && [400, 403, 404, 409, 410].includes(response.status)) one.state = "refused";
      else await pause(response?.status === 429 ? 200 : 500);
    }
  }
}

async function report(
  fault: string,
  load: LoadOptions,
  cluster: Cluster,
  client: LoadClient,
  asked: readonly Asked[],
): Promise<Report> {
  const entries = await cluster.entries();
  const items = entries.flatMap((entry) => (entry.kind === "item" ? [entry] : []));
  const time = entries.filter(({ kind }) => kind === "time");
  const billed = new Map(items.map((entry) => [entry.id.split(":").at(-1)!, entry.amount]));
  const taken = asked.filter(({ state }) => state === "answered");
  const refused = asked.filter(({ state }) => state === "refused");
  const faults: string[] = [];
  if (billed.size !== items.length) faults.push(`${items.length - billed.size} charges are on the bill twice`);
  for (const { id } of taken) if (!billed.has(id)) faults.push(`charge ${id} was answered and is not on the bill`);
  for (const { id } of refused) if (billed.has(id)) faults.push(`charge ${id} was refused and is on the bill`);
  const known = new Set(asked.map(({ id }) => id));
  for (const id of billed.keys())
    if (!known.has(id)) faults.push(`charge ${id} is on the bill, and nobody has asked for it`);
  const sessions = new Set(time.map(({ session }) => session));
  for (const session of new Set(taken.map((one) => one.session)))
    if (!sessions.has(session)) faults.push(`session ${session} was charged, and its time is not on the bill`);
  if (sessions.size !== time.length) faults.push(`${time.length - sessions.size} sessions are on the bill twice`);
  const answeredSum = sum(taken.map((one) => chargeAmount({ ...chargeOf(one), quantity: "1" })));
  const billedSum = sum(
    items.map(({ item, unitPrice, quantity, currency, id }) =>
      chargeAmount({ id, item, unitPrice, quantity, currency }),
    ),
  );
  if (answeredSum !== billedSum) faults.push(`answered ${answeredSum}, billed ${billedSum}`);
  return {
    fault,
    calls: load.rate * load.seconds,
    established: client.established,
    billedSessions: time.length,
    answered: taken.length,
    billed: items.length,
    answeredSum,
    billedSum,
    refused: refused.length,
    faults,
  };
}

const sum = (amounts: readonly Money[]): string =>
  amounts.length === 0 ? "0" : formatAmount(amounts.reduce((total, amount) => add(total, amount)));
