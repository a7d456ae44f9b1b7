import { DiscardPolicy, type JetStreamClient, RetentionPolicy, StorageType } from "@nats-io/jetstream";
import type { Clock } from "../support/clock.ts";
import { ensureStream } from "./nats-setup.ts";
import type { Live } from "./nats-worker.ts";
import type { NatsSettings } from "./settings.ts";

/** How long a lease stands that nobody renews. */
export const LEASE_MS = 10_000;
/** The part of it after which its holder no longer relies on it: by then it has been renewed, or NATS is away. */
const RELIED_ON = 0.7;

/**
 * Which of several nodes does something that only one may do. Each lease is a subject of one stream, which forgets a
 * message after the lease's time: whoever publishes the message that comes after the last one, or after none, has it.
 */
export class NatsLease {
  /** By the monotonic clock: until then this node has it. */
  private until = Number.NEGATIVE_INFINITY;
  private sequence = 0;
  private readonly subject: string;
  private readonly clock: Pick<Clock, "monotonic">;
  readonly ms: number;

  constructor(prefix: string, name: string, clock: Pick<Clock, "monotonic">, ms = LEASE_MS) {
    this.subject = leaseSubject(prefix, name);
    this.clock = clock;
    this.ms = ms;
  }

  /** Whether this node has it now. */
  get isHeld(): boolean {
    return this.clock.monotonic() < this.until;
  }

  /** Asks for it, or for more time. Resolves to whether this node has it. */
  async renew(js: JetStreamClient): Promise<boolean> {
    const now = this.clock.monotonic();
    if (!this.isHeld) this.sequence = 0; // only where there is no lease any more
    try {
      const ack = await js.publish(this.subject, "", {
        expect: { lastSubjectSequence: this.sequence },
        timeout: this.ms / 3,
        retries: 0,
      });
      this.sequence = ack.seq;
      this.until = now + this.ms * RELIED_ON;
    } catch {
      // Another node has it, or nobody answers. What is held stands until its time is over.
    }
    return this.isHeld;
  }

  /** Relies on it no longer; others get it when its time is over. */
  drop(): void {
    this.until = Number.NEGATIVE_INFINITY;
  }
}

const leaseSubject = (prefix: string, name: string): string => `${prefix}.leases.${name}`;

/** Makes the stream of leases, if it is missing. Throws `BusError` if it cannot be used. */
export function ensureLeases({ jsm }: Pick<Live, "jsm">, { stream, prefix, replicas }: NatsSettings, ms = LEASE_MS) {
  return ensureStream(
    jsm,
    `${stream}_LEASES`,
    {
      subjects: [leaseSubject(prefix, "*")],
      description: "Tollgate: which node does what only one may do",
      retention: RetentionPolicy.Limits,
      max_age: ms * 1_000_000,
      max_msgs_per_subject: 1,
      discard: DiscardPolicy.Old,
      ...(replicas !== undefined && { num_replicas: replicas }),
    },
    StorageType.Memory,
  );
}
