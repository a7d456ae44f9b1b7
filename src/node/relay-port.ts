import type { Acted, Action } from "../app-servers/app-servers.ts";
import type { CallQuery } from "../calls/find.ts";
import type { CallRecord } from "../calls/record.ts";
import type { DirectCharges } from "../charging/charges/direct.ts";
import type { Inspector } from "../chart/actor.ts";
import type { MemberView } from "../cluster/member-view.ts";
import type { SharedKeys } from "../cluster/shared-keys.ts";
import type { Config } from "../config/schema.ts";
import type { LockOut, WhichLockOuts } from "../directory/guesses.ts";
import type { ServerState } from "../directory/pool.ts";
import type { ApiToken, AppServerKey } from "../directory/types.ts";
import type { Counters } from "../relay/model/counters.ts";
import type { Store } from "../store/types.ts";
import type { RatesElsewhere } from "../support/source-rates.ts";
import type { SinkStatus } from "../usage/usage.ts";
import type { ChartCountsView } from "./chart-counts.ts";
import type { Everywhere } from "./everywhere.ts";
import type { Published } from "./identity.ts";
import type { Metrics } from "./metrics.ts";
import type { RegistrationView } from "./registrations.ts";
import type { SessionView } from "./session-view.ts";
import type { TracesAround } from "./traces-around.ts";
import type { RelayWatch } from "./watch.ts";
import type { WatchAround } from "./watch-around.ts";

/** What the console, operators and tests see of a relay that runs. */
export interface Relay {
  /** The addresses on which the relay listens, with the ports that it got. */
  readonly addresses: readonly { readonly transport: string; readonly address: string; readonly port: number }[];
  readonly counters: Readonly<Counters>;
  /** Everything that is counted, and the present values. */
  metrics(): Metrics;
  sessions(): SessionView[];
  /** Ends a session by BYE, or cancels it where it rings; false: there is none of that id here. */
  endSession(id: string): boolean;
  /** Sessions and calls of all nodes of the cluster. */
  readonly everywhere: Pick<Everywhere, "sessions" | "endSession" | "calls" | "story" | "figures">;
  /** Every app server with its health and its sessions, as this node sees them. */
  appServers(): readonly ServerState[];
  readonly store: Store;
  /** Who inspects the charts' actors. */
  readonly inspectors: Set<Inspector>;
  /** What happens in calls, for those who look; and recordings of it. */
  readonly watch: {
    watch: RelayWatch["watch"];
    /** The same at the other nodes of the cluster; undefined: the relay is alone. */
    around(...asked: Parameters<WatchAround["watch"]>): (() => void) | undefined;
  };
  /** Recordings of calls, at all nodes of the cluster. */
  readonly traces: TracesAround;
  /** How many actors are in each state, and how often each arrow was taken. */
  chartCounts(): ChartCountsView;
  /** Records of requests, those under way included: the newest that fit, oldest first. */
  calls(query: CallQuery): Promise<CallRecord[]>;
  /** How the sinks of usage are doing; none: usage is not sent, or not from here. */
  usage(): Promise<SinkStatus[]>;
  /** The nodes of the cluster, as this node sees them; none: the relay is alone. */
  nodes(): MemberView[];
  /**
   * Has another node of the cluster drained. Throws where there is none of that name. `onDrain`: another node has this
   * one drained; undefined: for as long as the configuration says.
   */
  drainNode(node: string, withinMs: number | undefined): void;
  onDrain(drain: (withinMs: number | undefined) => void): void;
  /**
   * Logs a rejected promise that nobody awaited and that belongs to no known session, and counts it among `crashed`.
   */
  failed(error: unknown): void;
  /**
   * Which users and sources have to wait after failed sign-ins. `liftLockOuts` lifts lock-outs and returns how many;
   * `source` may be any address of the source.
   */
  lockOuts(): LockOut[];
  /** Which devices of users have registered, of one user or of all; and removes those of one, and returns how many. */
  registrations(user?: string): RegistrationView[];
  unregister(user: string): number;
  liftLockOuts(which: WhichLockOuts): number;
  /** What charges outside of sessions' dialogs need (M17): the charging management, and app servers' keys. */
  readonly charging: {
    readonly direct: DirectCharges;
    appServerKey(id: string): AppServerKey | undefined;
    /** A token of the API, with which an app server may sign in. */
    token?(name: string): ApiToken | undefined;
    /** What other nodes take of the same app servers' reports; undefined: there are no other nodes. */
    ratesElsewhere?(perSecond: number): RatesElsewhere | undefined;
    /** Where other nodes hear of the app servers' Idempotency-Keys. */
    readonly keysElsewhere?: SharedKeys | undefined;
  };
  /**
   * Does what an app server that speaks HTTP asks for in one of its sessions, at whichever node that is. Never rejects.
   */
  act(appServer: string, session: string, action: Action): Promise<Acted>;
  /** The settings of a softphone, by the token of its QR code; undefined: it is no token, or too old. */
  provision(token: string): string | undefined;
  /** A token of the API; undefined: there is none of that name. */
  token(name: string): ApiToken | undefined;
  /** The public key, with which app servers check the relay's signature (M10); undefined: the relay does not sign. */
  readonly identity: Published | undefined;
  /**
   * Has `fn` called when no session is left and nothing is closed yet. Servers that use the relay are closed here.
   */
  onClosing(fn: () => Promise<void>): void;
  /**
   * Reads the directory and the certificates again. With a configuration, its services, app servers, tariffs, taxes,
   * settlement, rules and domains hold from now on.
   */
  reload(config?: Config): Promise<void>;
  /**
   * Takes no new sessions, lets those that run end by themselves for `drainMs`, ends the rest with BYE, and resolves
   * when everything is on record and billed.
   */
  close(options: { drainMs: number }): Promise<void>;
}
