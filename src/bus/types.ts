import type { CallRecord } from "../calls/record.ts";
import type { DeadLetter } from "../charging/events/dead-letter.ts";
import type { ChargingEvent } from "../charging/events/events.ts";

/**
 * Hands a batch to its consumer. `broken`: messages from the bus that are no events, with the reasons; the bus within
 * the process never has any.
 */
export type HandleEvents = (events: readonly ChargingEvent[], broken?: readonly DeadLetter[]) => Promise<void>;

/** How events are handed to a consumer for whom their order matters, and who may take hours for them. */
export interface OrderedBatch {
  /** This event of the batch is done, before the others are. */
  done(event: ChargingEvent): void;
  /**
   * How often this event was handed out, this time included. Those that are handed out together have the same number.
   */
  times(event: ChargingEvent): number;
  /** Aborted: another node takes over. What is not done comes to that node. */
  readonly signal: AbortSignal;
}

/** Handles a batch as `HandleEvents` does, in its own time. */
export type HandleInOrder = (events: readonly ChargingEvent[], batch: OrderedBatch) => Promise<void>;

/** One record for each node, on which most of the servers agree. Whoever replaces it must know its number. */
export interface NodeRecords {
  /** Undefined: there is none. Rejects if that cannot be known. */
  read(node: string): Promise<{ readonly text: string; readonly sequence: number } | undefined>;
  /**
   * Replaces the record with that number (0: there is none). Resolves to the new number; to undefined if it is not the
   * last one any more. Rejects if nobody knows whether it was replaced.
   */
  write(node: string, text: string, sequence: number): Promise<number | undefined>;
}

/** The bus port (decision 7): in the same process, or NATS JetStream. At least once, in any order. */
export interface Bus {
  /**
   * Resolves when the bus has taken responsibility for all of these events; the journal may then forget them. Rejects
   * with an `EventError` if there is an event that it will never take as it is. It has then taken the others. `again`:
   * it has taken them before, and may have lost them, even those that it still knows by their ids.
   */
  publish(events: readonly ChargingEvent[], again?: "again"): Promise<void>;
  /**
   * Whether the bus is sure to have what it took since the last call. False: another server leads than then, and it may
   * have lost some of it: publish that again. Rejects if that is not known now. Missing on a bus that loses nothing.
   */
  isSure?(): Promise<boolean>;
  /**
   * Hands events in batches to a durable consumer. When `handle` resolves, the batch is done; when it rejects, the same
   * events come again later. Returns a function that stops consuming and resolves when the batch under way is finished.
   */
  consume(name: string, handle: HandleEvents): Promise<() => Promise<void>>;
  /**
   * The same for a consumer who takes as long as it takes, and gets the events of the bus in their order. Only one node
   * at a time is given any; when that one is gone, another one goes on, after some 20 s. A new consumer begins with
   * what is published from now on. Missing on the bus within the process, which keeps nothing: `consume`, and keep
   * them.
   */
  consumeInOrder?(name: string, handle: HandleInOrder): Promise<() => Promise<void>>;
  /** How many events this consumer has not handled yet, at all nodes. Rejects if that cannot be known. */
  waiting?(name: string): Promise<number>;
  /**
   * Resolves when this consumer, in whichever process it runs, has handled everything that is on the bus at the time of
   * the call. Rejects if that takes longer than `withinMs`, or cannot be known. Missing on a bus whose `publish` itself
   * waits until the events are handled.
   */
  handled?(name: string, withinMs: number): Promise<void>;
  /**
   * Answers what other nodes ask this one by its name. If `reply` resolves to undefined, the question gets no answer.
   * Missing on a bus that has no other nodes.
   */
  answer?(node: string, reply: (question: string) => Promise<string | undefined>): void;
  /**
   * Asks another node. Undefined: there is no node of that name. Rejects if it does not answer in time, or if the bus
   * is not connected.
   */
  ask?(node: string, question: string, withinMs: number): Promise<string | undefined>;
  /**
   * Tells all nodes something on a topic, this node included. It is not kept: a node that is away does not get it.
   * False: this node is not connected. Missing on a bus that has no other nodes.
   */
  tell?(topic: string, text: string): boolean;
  /**
   * Calls `heard` with what nodes of this cluster tell on a topic, over this connection and all later ones. What none
   * of them has signed is dropped. Returns a function that ends this. Missing on a bus that has no other nodes.
   */
  hear?(topic: string, heard: (text: string) => void): () => void;
  /** What the nodes agree on. Missing on a bus that has no other nodes. */
  readonly records?: NodeRecords;
  /**
   * The connection seems to be there, and carries nothing: it is given up at once, and another one is made. False:
   * there is none to give up. Missing on a bus that has no other nodes.
   */
  renew?(why: string): boolean;
  /**
   * Tells those who listen just now what became of requests. Nothing is kept, and nobody bills it. False: this node is
   * not connected. Missing on the bus within the process, where nobody could listen.
   */
  tellCalls?(records: readonly CallRecord[]): boolean;
  /**
   * Keys of 32 bytes for a purpose, made of the secrets that the nodes of this cluster share (RFC 5869): the first one
   * to make things with, all of them to check things with. None: the nodes share no secret. Missing on a bus that has
   * no other nodes.
   */
  keys?(purpose: string): readonly Buffer[];
  /**
   * Publishes events that cannot be billed, for other programs that listen. Resolves when the bus has taken them.
   * Missing on the bus within the process, where nobody could listen.
   */
  publishDead?(letters: readonly DeadLetter[]): Promise<void>;
  close(): Promise<void>;
}
