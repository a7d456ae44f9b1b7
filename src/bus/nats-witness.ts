import {
  DiscardPolicy,
  type JetStreamClient,
  type JetStreamManager,
  StorageType,
  type StoredMsg,
} from "@nats-io/jetstream";
import { headers } from "@nats-io/transport-node";
import { type EventSeal, SIGNATURE } from "./event-seal.ts";
import { apiError, ensureStream, subjectsOf } from "./nats-setup.ts";
import type { NatsSettings } from "./settings.ts";
import type { NodeRecords } from "./types.ts";

/** An answer that takes longer is of no use: the node acts by then, or is silent. */
const WITHIN_MS = 1_000;
/** JetStream's errors for a number that is not the last one. */
const WRONG_SEQUENCE: readonly number[] = [10_071, 10_164];
/** How many messages of each node are kept: more than come at once. */
const KEPT = 64;
const AFTER = "Tollgate-After";

interface Live {
  readonly js: JetStreamClient;
  readonly jsm: JetStreamManager;
}

/**
 * The nodes' records in a stream of their own, in the memory of as many servers as keep the events. A record counts
 * when most of these servers have it. So on the two sides of a split only one can write.
 *
 * A cluster of servers of version 2.9 takes two messages that come at once and are both to follow the same one. So each
 * message says which one it follows, and it counts only if nothing is between the two. Whoever writes looks whether
 * that is so, unless the numbers say it; whoever reads does the same.
 */
export class NatsWitness implements NodeRecords {
  private readonly settings: NatsSettings;
  private readonly seal: EventSeal | undefined;
  /** Throws while there is no connection. */
  private readonly live: () => Live;
  private readonly prefix: string;
  private readonly stream: string;
  /** On which connection the stream was found. */
  private found: JetStreamManager | undefined;

  constructor(settings: NatsSettings, seal: EventSeal | undefined, live: () => Live) {
    const { witness, witnessStream } = subjectsOf(settings);
    this.settings = settings;
    this.seal = seal;
    this.live = live;
    this.prefix = witness;
    this.stream = witnessStream;
  }

  async read(node: string): Promise<{ readonly text: string; readonly sequence: number } | undefined> {
    const live = await this.ready();
    const subject = this.prefix + node;
    const last = await this.there(live.jsm.streams.getMessage(this.stream, { last_by_subj: subject }));
    if (!last) return undefined;
    const { seq: sequence } = last;
    let before = afterOf(last);
    let counts: StoredMsg = last;
    // Those that came at once with the last one, and it: the last of them that follows what it says.
    for (let at = before; at < sequence; ) {
      const next = await this.next(live, subject, at);
      if (!next || next.seq > sequence) break;
      if (afterOf(next) === before) counts = next;
      before = next.seq;
      at = next.seq;
    }
    const { data, header } = counts;
    const problem = this.seal?.toldProblem(subject, data, header?.get(SIGNATURE));
    // What no node has signed says nothing; but it is what the next one follows.
    return { text: problem === undefined ? Buffer.from(data).toString("utf8") : "", sequence };
  }

  async write(node: string, text: string, sequence: number): Promise<number | undefined> {
    const live = await this.ready();
    const subject = this.prefix + node;
    const about = headers();
    about.set(AFTER, String(sequence));
    if (this.seal) about.set(SIGNATURE, this.seal.signTold(subject, text));
    const expect = { lastSubjectSequence: sequence };
    try {
      const ack = live.js.publish(subject, text, { expect, timeout: WITHIN_MS, retries: 1, headers: about });
      const { seq } = await this.there(ack);
      if (seq === sequence + 1 || (await this.next(live, subject, sequence))?.seq === seq) return seq;
      return undefined;
    } catch (error) {
      if (WRONG_SEQUENCE.includes(apiError(error)?.err_code ?? 0)) return undefined;
      throw error;
    }
  }

  /** The first message of the subject after that number. */
  private next({ jsm }: Live, subject: string, after: number): Promise<StoredMsg | null> {
    const query = { seq: after + 1, next_by_subj: subject }; // the types know this for direct gets alone
    return this.there(jsm.streams.getMessage(this.stream, query as unknown as { seq: number }));
  }

  private async ready(): Promise<Live> {
    const live = this.live();
    if (this.found === live.jsm) return live;
    const { replicas } = this.settings;
    const wanted = {
      subjects: [`${this.prefix}*`],
      description: "Tollgate: which node was called dead",
      max_msgs_per_subject: KEPT,
      discard: DiscardPolicy.Old,
      ...(replicas !== undefined && { num_replicas: replicas }),
    };
    await ensureStream(live.jsm, this.stream, wanted, StorageType.Memory);
    this.found = live.jsm;
    return live;
  }

  /** Looks for the stream anew the next time, if it may have been lost. */
  private async there<T>(answer: Promise<T>): Promise<T> {
    try {
      return await answer;
    } catch (error) {
      if (!WRONG_SEQUENCE.includes(apiError(error)?.err_code ?? 0)) this.found = undefined;
      throw error;
    }
  }
}

/** The message that it is to follow; 0: it says none. */
const afterOf = ({ header }: StoredMsg): number => Number(header?.get(AFTER) || 0) || 0;
