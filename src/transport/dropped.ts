import type { Clock } from "../support/clock.ts";
import { type PeerLog, shownUris } from "../support/peer-log.ts";
import { sourceKey } from "../support/source.ts";

/** Where a message came from: of a flow, what is said of it. */
interface From {
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly transport: string;
}

/** Addresses of which something is remembered; the one heard of longest ago goes first. */
const MAX_ADDRESSES = 1_000;
const SHOWN_CHARS = 96;

interface Note {
  readonly why: string;
  readonly at: number;
}

/**
 * What came and was let fall: a line for whoever operates, and for a short while why, so that whoever waits in vain
 * for an answer can say that one came and could not be used.
 */
export class DroppedMessages {
  private readonly notes = new Map<string, Note>();
  private readonly clock: Pick<Clock, "monotonic">;
  private readonly peers: PeerLog | undefined;

  constructor(clock: Pick<Clock, "monotonic">, peers: PeerLog | undefined) {
    this.clock = clock;
    this.peers = peers;
  }

  /**
   * Bytes that are no message. `answered`: the status that the sender gets, where enough could be read for an answer.
   */
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

  /** A message that can be read and is for nobody here. */
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
   * Why the latest message of that address was dropped, if one was since then (milliseconds of the monotonic clock).
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
