import { existsSync, readFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { fileURLToPath } from "node:url";
import { makeBill } from "../../charging/bills/bill.ts";
import { formatBill } from "../../charging/bills/format-bill.ts";
import { monthOf } from "../../charging/money/months.ts";
import { withStore } from "../context.ts";
import { eventually } from "./eventually.ts";
import { LiveLadder } from "./live-ladder.ts";
import { Printer } from "./printer.ts";
import { type SecondNode, startSecondNode } from "./second-node.ts";
import { DOMAIN, type Stage, setStage } from "./stage.ts";
import { openWeb } from "./web.ts";

/** The page's files, with their types. */
const FILES = {
  "index.html": "text/html; charset=utf-8",
  "main.js": "text/javascript; charset=utf-8",
  "page.css": "text/css; charset=utf-8",
  "licences.txt": "text/plain; charset=utf-8",
} as const;

/** What is shown in the page, by its service. */
const TITLES: Readonly<Record<string, string>> = { grappa: "Grappa", beer: "Brewery", books: "Two book shops at once" };

export interface Counter {
  readonly url: string;
  /** In a cluster: kills the node by which the page came. Another one goes on with its sessions. */
  readonly killNode: (() => Promise<void>) | undefined;
  /** Stops everything. Resolves to the bill. */
  close(): Promise<string>;
}

/**
 * The demo's relay and app servers, and a page at which one signs in and opens services: `tollgate demo --browser`. It
 * is for this machine alone, for it shows the password to whoever opens it. `write` takes lines of the ladder. With
 * `env` there are two nodes, and NATS and MongoDB as `openCluster` finds them there.
 */
export async function openCounter(
  write: (line: string) => void,
  fancy: boolean,
  env?: NodeJS.ProcessEnv,
): Promise<Counter> {
  const files = readPage();
  const startedAt = Date.now();
  let servers: ReadonlySet<string> = new Set();
  const ladder = new LiveLadder(new Printer(write, fancy), "page", (peer) => servers.has(peer));
  const cluster = env && (await (await import("./cluster.ts")).openCluster(env));
  const stage = await setStage((event) => ladder.saw(event), cluster, "for pages").catch(async (error) => {
    await cluster?.close();
    throw error;
  });
  let node: SecondNode | undefined;
  const closeAll = async () => {
    await node?.kill();
    await stage.close();
    await cluster?.close();
  };
  servers = new Set(Object.values(stage.servers).map(({ port }) => `127.0.0.1:${port}`));
  const bill = () =>
    withStore(stage.config, async (store) => formatBill(await makeBill(store, stage.user, monthOf(startedAt))));
  const up = () => stage.running.nodes().filter(({ state }) => state === "up").length;
  const killNode = async () => {
    await node?.kill();
    await eventually("the other node knows that this one is gone", () => up() <= 1);
  };
  try {
    if (cluster) {
      node = await startSecondNode(stage.config, () => {});
      await eventually("the two nodes find each other", () => up() === 2);
    }
    // The first one is tried first.
    const relays = [node?.webSocket, stage.webSocket].filter((one) => one !== undefined);
    const page = { stage, relays, files, bill };
    const web = await openWeb((request, response) => void answer(page, request, response));
    return {
      url: `${web.url}/`,
      killNode: node && killNode,
      async close() {
        await web.close();
        await killNode();
        await stage.finish();
        const text = await bill();
        await closeAll();
        return text;
      },
    };
  } catch (error) {
    await closeAll();
    throw error;
  }
}

/** What the page is served from. */
interface Served {
  readonly stage: Stage;
  /** Where it reaches the nodes. */
  readonly relays: readonly string[];
  readonly files: ReadonlyMap<string, Buffer>;
  readonly bill: () => Promise<string>;
}

async function answer(
  { stage, relays, files, bill }: Served,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const reply = (status: number, type: string, body: string | Buffer) => {
    response.writeHead(status, { ...HEADERS, "Content-Type": type, "Content-Security-Policy": policyFor(relays) });
    response.end(body);
  };
  try {
    // A page of another name that leads to this machine (DNS rebinding) gets nothing.
    if (!/^(?:127\.0\.0\.1|localhost|\[::1\])(?::\d+)?$/.test(request.headers.host ?? ""))
      return reply(421, "text/plain", "This is for this machine alone.\n");
    if (request.method !== "GET") return reply(405, "text/plain", "Only GET.\n");
    const name = (request.url ?? "/").slice(1).split("?", 1)[0] || "index.html";
    if (name === "bill") return reply(200, "text/plain; charset=utf-8", await bill());
    if (name === "running") return reply(200, "application/json", JSON.stringify(await runningOf(stage)));
    if (name === "settings") return reply(200, "application/json", JSON.stringify(settingsOf(stage, relays)));
    const file = files.get(name);
    if (file) return reply(200, FILES[name as keyof typeof FILES], file);
    reply(404, "text/plain", "There is no such page.\n");
  } catch (error) {
    reply(500, "text/plain", `${error instanceof Error ? error.message : error}\n`);
  }
}

const HEADERS = { "Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff" };

/** The page speaks with the relay and shows the app servers' pages, and nothing else. */
const policyFor = (relays: readonly string[]): string =>
  `default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self' ${relays.join(" ")}; frame-src http://127.0.0.1:*; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;

/** What the user's sessions have cost so far, at whichever node they are. */
const runningOf = async ({ running, user }: Stage) =>
  (await running.everywhere.sessions()).sessions
    .filter((session) => session.user === user)
    .map(({ id, service, durationMs = 0, cost = "nothing" }) => ({ id, service, durationMs, cost }));

const settingsOf = ({ user, password, config }: Stage, relays: readonly string[]) => ({
  relay: relays,
  domain: DOMAIN,
  user,
  password,
  services: config.services.map(({ id, title }) => ({ id, title: title ?? TITLES[id] ?? id })),
});

function readPage(): ReadonlyMap<string, Buffer> {
  const folder = ["../../../portal/", "../../../dist/portal/"]
    .map((path) => fileURLToPath(new URL(path, import.meta.url)))
    .find((path) => existsSync(`${path}main.js`));
  if (folder === undefined) throw new Error("the page was not built: npm run build");
  return new Map(Object.keys(FILES).map((name) => [name, readFileSync(folder + name)]));
}
