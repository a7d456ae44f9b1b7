import type { Acted, Action, HttpAppServers, NodesAround } from "../app-servers/app-servers.ts";
import type { Bus } from "../bus/types.ts";
import { CHARGE_JSON, parseChargeBody } from "../charging/charges/body.ts";
import { isFresh, sealed, sealKey, unsealed } from "../charging/charges/book-questions.ts";
import { readSessionId } from "../charging/events/session-ids.ts";
import type { AppServerKey } from "../directory/types.ts";
import type { Clock } from "../support/clock.ts";
import type { Random } from "../support/random.ts";
import type { Cluster } from "./cluster-ports.ts";

/*
 * What app servers ask for in their sessions (`POST /v1/sessions/...`), where another node has the session. The texts
 * between the nodes are sealed as those about books are: both have hashes of the app server's keys.
 */

export interface ActsOptions {
  readonly act: HttpAppServers["act"];
  readonly bus: Pick<Bus, "ask">;
  readonly clock: Pick<Clock, "wall">;
  readonly random: Random;
  readonly keysOf: (appServer: string) => readonly AppServerKey[];
  /** Names of the other nodes. */
  readonly others: () => readonly string[];
}

/** A change or a move may ring at the other end. */
const ANSWER_WITHIN_MS = 240_000;

export const othersOf = (node: string, cluster: Pick<Cluster, "nodes"> | undefined): string[] =>
  (cluster?.nodes() ?? []).map((other) => other.node).filter((name) => name !== node);

/** What app servers that speak HTTP need of a cluster; undefined: the relay is alone. */
export function nodesAround(
  node: string,
  bus: Pick<Bus, "tell" | "hear">,
  cluster: Pick<Cluster, "nodes"> | undefined,
): NodesAround | undefined {
  if (!cluster) return undefined;
  return {
    node,
    tell: (topic, text) => void bus.tell?.(topic, text),
    hear: (topic, heard) => bus.hear?.(topic, heard) ?? (() => {}),
    nodes: () => cluster.nodes(),
  };
}

/** Has done what an app server asks for, by the node that has the session. */
export class ActsElsewhere {
  private readonly options: ActsOptions;

  constructor(options: ActsOptions) {
    this.options = options;
  }

  /** Never rejects. */
  async act(appServer: string, session: string, action: Action): Promise<Acted> {
    const { act, others } = this.options;
    const here = await act(appServer, session, action);
    if (here.kind !== "unknown") return here;
    // The node that made the session has it nearly always; when that one died, another took it up.
    const first = readSessionId(session)?.node;
    const names = [...others()].sort((a, b) => Number(b === first) - Number(a === first));
    let answer: Acted = here;
    for (const name of names) {
      const said = await this.ask(name, appServer, session, action).catch(() => NOT_NOW);
      if (said && said.kind !== "unknown" && said !== NOT_NOW) return said;
      if (said === NOT_NOW) answer = NOT_NOW;
    }
    return answer;
  }

  private async ask(node: string, appServer: string, session: string, action: Action): Promise<Acted | undefined> {
    const { bus, clock, random, keysOf } = this.options;
    const key = sealKey(keysOf(appServer));
    if (!bus.ask || !key) return undefined;
    const nonce = random.token();
    const question = sealed(key, { asks: ASKS, nonce, at: clock.wall(), appServer, session, action });
    const text = await bus.ask(node, question, ANSWER_WITHIN_MS);
    if (text === undefined) return undefined;
    const said = unsealed(text, ({ nonce: repeated }) => (repeated === nonce ? key : undefined));
    return said ? (said.acted as Acted) : NOT_NOW;
  }
}

const ASKS = "act";
const NOT_NOW: Acted = { kind: "refused", status: 503, reason: "The node that has the session did not answer" };

/** Answers another node; undefined: it is no question of this kind. */
export async function answerAction(
  { act, keysOf, clock }: Pick<ActsOptions, "act" | "keysOf" | "clock">,
  text: string,
): Promise<string | undefined> {
  const said = unsealed(text, ({ asks, appServer }) =>
    asks === ASKS && typeof appServer === "string" ? sealKey(keysOf(appServer)) : undefined,
  );
  if (!said) return undefined;
  const { nonce, at, appServer, session } = said;
  if (typeof nonce !== "string" || typeof appServer !== "string" || typeof session !== "string") return undefined;
  if (!isFresh(at, clock)) return undefined;
  const action = readAction(said.action);
  if (!action) return undefined;
  return sealed(sealKey(keysOf(appServer))!, { nonce, acted: await act(appServer, session, action) });
}

/** A relay of the same cluster has written it, perhaps one of another version. */
function readAction(said: unknown): Action | undefined {
  if (typeof said !== "object" || said === null) return undefined;
  const { kind, charges, wanted, to, keep } = said as Record<string, unknown>;
  if (kind === "end") {
    if (Array.isArray(charges) && charges.length === 0) return { kind, charges: [] };
    const read = parseChargeBody(CHARGE_JSON, Buffer.from(JSON.stringify({ charges })));
    return read.ok ? { kind, charges: read.value } : undefined;
  }
  if (kind === "change") {
    const { contentType, content } = (wanted ?? {}) as Record<string, unknown>;
    const isRight = typeof contentType === "string" && typeof content === "string";
    return isRight ? { kind, wanted: { contentType, content } } : undefined;
  }
  if (kind !== "move" || typeof to !== "string") return undefined;
  return { kind, to, ...(typeof keep === "boolean" && { keep }) };
}
