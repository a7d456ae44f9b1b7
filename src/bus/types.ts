import type { DeadLetter } from "../charging/events/dead-letter.ts";
import type { ChargingEvent } from "../charging/events/events.ts";

/**
 * Hands a batch to its consumer. `broken`: what came over the bus and is no event, with the reason; never from the
 * same process.
 */
export type HandleEvents = (events: readonly ChargingEvent[], broken?: readonly DeadLetter[]) => Promise<void>;

/** The bus port (decision 7): in the same process, or NATS JetStream. At least once, in any order. */
export interface Bus {
  /**
   * Resolves when the bus has taken responsibility for all of these events; then the journal may forget them. Rejects
   * with an `EventError` where it took the others, and one it will never take as it is.
   */
  publish(events: readonly ChargingEvent[]): Promise<void>;
  /**
   * Hands events in batches to a durable consumer. What `handle` resolves for is done; when it rejects, the same
   * events come again later. Returns a function that stops consuming and resolves when the batch under way is
   * finished.
   */
  consume(name: string, handle: HandleEvents): Promise<() => Promise<void>>;
  /**
   * Resolves when this consumer has handled everything that is on the bus at the time of the call, wherever it runs;
   * rejects when that is not so within the time, or cannot be known. Missing where `publish` resolves no earlier.
   */
  handled?(name: string, withinMs: number): Promise<void>;
  /**
   * Answers what other nodes ask this one by its name; what it gives no answer to stays without. Missing where there
   * are no others.
   */
  answer?(node: string, reply: (question: string) => Promise<string | undefined>): void;
  /**
   * Asks another node. Undefined: none of that name is there. Rejects when it does not answer in time, and when
   * nobody can know.
   */
  ask?(node: string, question: string, withinMs: number): Promise<string | undefined>;
  /**
   * Tells all nodes something on a topic, the one that tells it too. Nobody keeps it: who is not there does not get
   * it. False: this node is not connected. Missing where there are no others.
   */
  tell?(topic: string, text: string): boolean;
  /**
   * Hears what nodes of this cluster tell on a topic, now and after each connection; what was not signed by one of
   * them is not heard. Returns a function that ends it. Missing where there are no others.
   */
  hear?(topic: string, heard: (text: string) => void): () => void;
  /**
   * Tells whoever listens that these cannot be billed; resolves when the bus has taken them. Missing where nobody
   * could listen.
   */
  publishDead?(letters: readonly DeadLetter[]): Promise<void>;
  close(): Promise<void>;
}
