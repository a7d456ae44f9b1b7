import type { Config } from "../config/schema.ts";
import type { Relay } from "../node/relay.ts";
import type { Store } from "../store/types.ts";
import { OperationError } from "./mistake.ts";
import type { Role } from "./rights.ts";

/** Who asks for an operation. */
export interface Caller {
  /** The token's name, or who needs none. */
  readonly name: string;
  readonly role: Role;
  /** Where it comes from: an address; of a command, the machine's user. */
  readonly from: string;
  /** When the token stops to be good, milliseconds since 1970; undefined: never, or there is none. */
  readonly expiresAt?: number | undefined;
}

/** What an operation works on. */
export interface OperationContext {
  readonly config: Config;
  /** How messages name the configuration. */
  readonly configName: string;
  readonly store: Store;
  /** Undefined: none runs in this process. */
  readonly relay: OperatedRelay | undefined;
  readonly caller: Caller;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** The relay that runs, as far as operations need it. */
export interface OperatedRelay
  extends Pick<
    Relay,
    | "watch"
    | "everywhere"
    | "usage"
    | "registrations"
    | "unregister"
    | "nodes"
    | "lockOuts"
    | "liftLockOuts"
    | "traces"
    | "appServers"
    | "metrics"
    | "chartCounts"
  > {
  /** Places a test call, and resolves to the id of its record; missing: this relay places none. */
  testCall?(what: {
    readonly scene: "charged" | "timed" | "busy" | "cancelled";
    readonly item: string;
    readonly unitPrice: string;
  }): Promise<string>;
  /** Takes no new sessions and stops; `node` names another node of the cluster. */
  drain(node: string | undefined, withinMs: number | undefined): void;
}

export function relayOf({ relay }: Pick<OperationContext, "relay">): OperatedRelay {
  if (relay) return relay;
  throw new OperationError("refused", "the relay is not ready yet");
}
