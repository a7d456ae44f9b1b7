import type { ChargingEvent } from "../charging/events.ts";

/** The bus port (DESIGN.md, decision 7): in the same process, or NATS JetStream. At least once, in any order. */
export interface Bus {
  /** Resolves when the bus has taken responsibility for all of these events; then the journal may forget them. */
  publish(events: readonly ChargingEvent[]): Promise<void>;
  /**
   * Hands events in batches to a durable consumer. What `handle` resolves for is done; when it rejects, the same events come again later.
   * Returns a function that stops consuming and resolves when the batch under way is finished.
   */
  consume(name: string, handle: (events: readonly ChargingEvent[]) => Promise<void>): Promise<() => Promise<void>>;
  close(): Promise<void>;
}
