import { z } from "zod";
import { MAX_DRAIN_S } from "../config/terms.ts";
import { counts, labelled } from "../node/figures.ts";
import type { Metrics } from "../node/metrics.ts";
import { type SessionView, sessionView } from "../node/session-view.ts";
import { version } from "../support/version.ts";
import { relayOf } from "./context.ts";
import { missingNodes, missingOf, silentText } from "./missing.ts";
import { OperationError } from "./mistake.ts";
import { type AnyOperation, idField, nothing, operation } from "./operation.ts";
import { RIGHTS } from "./rights.ts";

/* What runs: sessions, nodes, lock-outs. */

const registration = z.object({
  user: z.string(),
  contact: z.string(),
  from: z.string().describe("Where the device was when it registered."),
  connected: z.boolean().optional().describe("Its connection is up; missing: it is reached without one."),
  instance: z.string().optional(),
  regId: z.int().optional(),
  gruu: z.string().optional().describe("The URI that names this device and no other (RFC 5627)."),
  path: z.array(z.string()).optional(),
  userAgent: z.string().optional(),
  q: z.number(),
  sinceS: z.number(),
  leftS: z.number(),
});

export const whoAmI = operation({
  id: "whoAmI",
  method: "GET",
  path: "/v1/me",
  summary: "Who asks, and what it may do",
  right: "any",
  input: nothing,
  output: z.object({
    name: z.string(),
    role: z.enum(["viewer", "operator", "biller", "app-server", "owner", "loopback"]),
    rights: z.array(z.enum(["see", "see-money", "bill", "operate", "administer"])),
    expiresAt: z.int().optional(),
  }),
  run: ({ caller: { name, role, expiresAt } }) => ({
    name,
    role,
    rights: RIGHTS[role],
    ...(expiresAt !== undefined && { expiresAt }),
  }),
});

interface Status extends Metrics {
  readonly version: string;
  readonly now: number;
  readonly draining: boolean;
  readonly nodes?: number;
  readonly missing?: readonly string[];
}

export const showStatus = operation({
  id: "showStatus",
  method: "GET",
  path: "/v1/status",
  summary: "The relay's version, its name, and what it counts",
  right: "see",
  live: true,
  input: z.strictObject({
    everywhere: z.boolean().default(false).describe("What all nodes of the cluster count, added up."),
  }),
  output: z.object({
    version: z.string(),
    node: z.string(),
    now: z.int(),
    draining: z.boolean(),
    counters: counts,
    gauges: counts,
    labelled: labelled.optional().describe("By status, service, app server and node."),
    nodes: z.int().optional().describe("With `everywhere`: how many nodes are in it."),
    missing: missingNodes,
  }),
  async run(context, { everywhere }): Promise<Status> {
    const relay = relayOf(context);
    const all = everywhere ? await relay.everywhere.figures() : undefined;
    const own = all?.own ?? relay.metrics();
    const { counters, gauges, labelled } = all?.figures ?? own;
    return {
      version: version(),
      node: own.node ?? "",
      now: context.now(),
      draining: own.gauges.draining === 1,
      counters,
      gauges,
      ...(labelled && { labelled }),
      ...(all && { nodes: all.nodes, ...missingOf(all.missing) }),
    };
  },
});

export const listSessions = operation({
  id: "listSessions",
  method: "GET",
  path: "/v1/sessions",
  summary: "The sessions of all nodes of the cluster, in the order in which they began",
  right: "see",
  personal: true,
  live: true,
  input: nothing,
  output: z.object({
    sessions: z.array(sessionView),
    missing: missingNodes,
  }),
  async run(context): Promise<{ sessions: SessionView[]; missing?: readonly string[] }> {
    const { sessions, missing } = await relayOf(context).everywhere.sessions();
    return { sessions, ...missingOf(missing) };
  },
});

export const removeSession = operation({
  id: "removeSession",
  method: "DELETE",
  path: "/v1/sessions/{id}",
  summary: "End a session, at whichever node it is: both ends get BYE, and what rings is cancelled",
  right: "operate",
  live: true,
  input: z.strictObject({ id: idField }),
  output: z.object({ id: z.string(), ended: z.literal(true) }),
  async run(context, { id }) {
    const { ended, missing } = await relayOf(context).everywhere.endSession(id);
    if (ended) return { id, ended };
    if (missing.length > 0)
      throw new OperationError("refused", `no node that answers has session ${id}; ${silentText(missing)}`);
    throw new OperationError("unknown", `there is no session ${id}`, { hint: "see: tollgate sessions" });
  },
});

export const listNodes = operation({
  id: "listNodes",
  method: "GET",
  path: "/v1/nodes",
  summary: "The nodes of the cluster, as this node sees them; none: it is alone",
  right: "see",
  live: true,
  input: nothing,
  output: z.object({
    nodes: z.array(
      z.object({
        node: z.string(),
        epoch: z.int().describe("Grows with each start of the node."),
        host: z.string(),
        zone: z.string(),
        release: z.string(),
        state: z.enum(["up", "draining", "left", "dead", "unheard"]),
        self: z.boolean(),
        heardMsAgo: z.number(),
        patienceMs: z.int().optional(),
        sessions: z.int(),
        requests: z.int(),
        standbys: z.int(),
        lagMs: z.number(),
        busy: z.number(),
      }),
    ),
  }),
  run: (context) => ({ nodes: relayOf(context).nodes() }),
});

export const drainNode = operation({
  id: "drainNode",
  method: "POST",
  path: "/v1/nodes/{node}/drain",
  summary: "Stop a node: it takes no new sessions, gives its sessions to other nodes, and stops when none is left",
  right: "operate",
  live: true,
  input: z.strictObject({
    node: idField.describe("As in the list of nodes; `self`: the one that is asked."),
    withinS: z.number().min(0).max(MAX_DRAIN_S).optional().describe("How long sessions may go on; default: drainS."),
  }),
  output: z.object({ draining: z.literal(true) }),
  run(context, { node, withinS }) {
    const relay = relayOf(context);
    const isSelf = node === "self" || relay.nodes().some((one) => one.self && one.node === node);
    try {
      relay.drain(isSelf ? undefined : node, withinS === undefined ? undefined : withinS * 1000);
    } catch (error) {
      throw new OperationError("refused", (error as Error).message);
    }
    return { draining: true };
  },
});

export const listRegistrations = operation({
  id: "listRegistrations",
  method: "GET",
  path: "/v1/registrations",
  summary: "Which devices have registered (RFC 3261 §10), and where they are reached",
  right: "see",
  personal: true,
  live: true,
  input: z.strictObject({ user: idField.optional() }),
  output: z.object({ registrations: z.array(registration) }),
  run: (context, { user }) => ({ registrations: relayOf(context).registrations(user) }),
});

export const removeRegistrations = operation({
  id: "removeRegistrations",
  method: "DELETE",
  path: "/v1/registrations/{user}",
  summary: "Forget the devices that a user has registered",
  right: "operate",
  live: true,
  input: z.strictObject({ user: idField }),
  output: z.object({ removed: z.int() }),
  run: (context, { user }) => ({ removed: relayOf(context).unregister(user) }),
});

export const showUsage = operation({
  id: "showUsage",
  method: "GET",
  path: "/v1/usage",
  summary: "How usage comes to those who meter and bill, as this node sees it",
  right: "see",
  live: true,
  input: nothing,
  output: z.object({
    sinks: z.array(
      z.object({
        sink: z.string(),
        preset: z.string(),
        url: z.string(),
        waiting: z.int().optional(),
        oldestS: z.number().optional(),
        delivered: z.int(),
        failures: z.int(),
        deadLetters: z.int(),
        lost: z.int(),
        failing: z.string().optional(),
      }),
    ),
  }),
  run: async (context) => ({ sinks: await relayOf(context).usage() }),
});

const lockOut = z.object({ user: z.string().optional(), source: z.string(), failures: z.int(), waitMs: z.number() });

export const listLockOuts = operation({
  id: "listLockOuts",
  method: "GET",
  path: "/v1/lockouts",
  summary: "Users and addresses that have to wait after failed sign-ins",
  right: "see",
  personal: true,
  live: true,
  input: nothing,
  output: z.object({ lockouts: z.array(lockOut) }),
  run: (context) => ({ lockouts: relayOf(context).lockOuts() }),
});

export const liftLockOuts = operation({
  id: "liftLockOuts",
  method: "POST",
  path: "/v1/lockouts/lift",
  summary: "Lift lock-outs, at all nodes, and forget the failures that led to them",
  right: "operate",
  live: true,
  input: z.strictObject({
    user: idField.optional(),
    source: idField.optional().describe("An address, or any address of its /64 network of IPv6."),
    all: z.boolean().optional().describe("All of them; in place of user and source."),
  }),
  output: z.object({ lifted: z.int() }),
  run(context, { user, source, all }) {
    if ((user !== undefined || source !== undefined) === (all === true))
      throw new OperationError("usage", "say which: user, source or both of them, or all");
    const which = { ...(user !== undefined && { user }), ...(source !== undefined && { source }) };
    return { lifted: relayOf(context).liftLockOuts(which) };
  },
});

export const running: readonly AnyOperation[] = [
  showUsage,
  whoAmI,
  showStatus,
  listSessions,
  removeSession,
  listRegistrations,
  removeRegistrations,
  listNodes,
  drainNode,
  listLockOuts,
  liftLockOuts,
];
