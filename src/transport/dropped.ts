import type { Clock } from "../support/clock.ts";
import { type PeerLog, shownUris } from "../support/peer-log.ts";
import { sourceKey } from "../support/source.ts";

/** Where a message came from: the part of a flow that the log names. */
interface From {
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly transport: string;
}

/** How many addresses have a note; the oldest note is dropped first. */
const MAX_ADDRESSES = 1_000;
const SHOWN_CHARS = 96;

interface Note {
  readonly why: string;
  readonly at: number;
}

/**
 * Messages that came and were dropped. Each one is logged for the operator, and for each address the last reason is
 * kept for a while. So a request that gets no answer can report that one came and could not be used.
 */
export class DroppedMessages {
  private readonly notes = new Map<string, Note>();
  private readonly clock: Pick<Clock, "monotonic">;
  private readonly peers: PeerLog | undefined;

  constructor(clock: Pick<Clock, "monotonic">, peers: PeerLog | undefined) {
    this.clock = clock;
    this.peers = peers;
  }

  /** Bytes that are no message. `answered`: the status of the answer, if enough could be read to answer. */
  unreadable(flow: From, why: string, bytes: Buffer | undefined, answered: number | undefined): void {
    this.note(flow.remoteAddress, `what it sent cannot be read: ${why}`);
    this.peers?.info("a message cannot be read", sourceKey(flow.remoteAddress), {
      address: flow.remoteAddress,
      port: flow.remotePort,
      transport: flow.transport,
      why,
      ...(answered === undefined ? { dropped: true } : { answered }),
      ...(bytes && { bytes: bytes.length, begins: shownUris(bytes.toString("latin1", 0, SHOWN_CHARS), SHOWN_CHARS) }),
    });
  }

  /** A message that can be read, but is for nobody here. */
  useless(flow: From, why: string): void {
    this.note(flow.remoteAddress, why);
    this.peers?.debug("a message is dropped", sourceKey(flow.remoteAddress), {
      address: flow.remoteAddress,
      port: flow.remotePort,
      transport: flow.transport,
      why,
    });
  }

  /**
   * Why the last message of that address was dropped, if that was at `at` or later (milliseconds of the monotonic
   * clock).
   */
  since(address: string, at: number): string | undefined {
    const note = this.notes.get(address);
    return note && note.at >= at ? note.why : undefined;
  }

  private note(address: string, why: string): void {
    this.notes.delete(address); // to the end of the map
    this.notes.set(address, { why, at: this.clock.monotonic() });
    if (this.notes.size > MAX_ADDRESSES) this.notes.delete(this.notes.keys().next().value!);
  }
}
