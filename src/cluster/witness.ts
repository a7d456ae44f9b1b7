import type { NodeRecords } from "../bus/types.ts";
import { readJson } from "../support/json.ts";
import type { Logger } from "../support/log.ts";
import type { NodeRun } from "./beat.ts";
import { DEAD_MS, MARGIN_MS } from "./patience.ts";

/*
 * Who is right when nodes do not hear each other: what most NATS servers have agreed on (P3). Each node has one record,
 * which is replaced only by whoever knows its number (compare and set). The node itself replaces it once a second. Who
 * wants to call it dead replaces it by one that says so, and only then takes up its sessions. So a node that can still
 * replace its own record knows that it was not called dead, and the next one who tries will fail.
 */

/** `calm`: others hear the node. `alone`: they may not, and it acts because it could write this. */
type Kind = "calm" | "alone" | "dead";

interface Known {
  /** 0: there is no record. */
  readonly sequence: number;
  readonly kind: Kind;
  readonly epoch: number;
  /** The nodes that the node counts on, itself included. */
  readonly set: readonly string[];
  readonly patienceMs: number;
  /** Of a dead node: who has called it dead, and so may have its sessions. */
  readonly by: readonly string[];
  /** Since when it is known here. */
  readonly since: number;
}

interface Own {
  readonly number: number;
  readonly kind: Kind;
  readonly set: readonly string[];
  readonly patienceMs: number;
  readonly sentAt: number;
}

/** How often a node replaces its record: when all is well, and when it has nothing else to go by. */
const CALM_MS = 1_000;
const ALONE_MS = 100;
/** How often another node's record is read while it is missed. */
const READ_MS = 100;
/**
 * A node that most others confirm acts for so long after it wrote its record: until then JetStream has a leader again.
 * Whoever is not heard by half of them waits for so long, and more, before it calls the others dead.
 */
const LONG_MS = 10_000;
const LONG_MARGIN_MS = 500;
/** A node that never could write its record in that time goes without, and so do the others. */
const INCAPABLE_MS = 10_000;

/** What this node knows by the records, and what it may do. */
export class Witness {
  private readonly self: NodeRun;
  private readonly records: NodeRecords;
  private readonly log: Logger;
  private readonly now: () => number;
  private readonly listener: {
    /** That run is called dead, by this node or another one. Nobody of it acts any more. */
    dead(run: NodeRun): void;
    /** Others have called this node dead, and take up its sessions. */
    taken(): void;
    /** This node has written its record. */
    wrote(): void;
  };
  private readonly known = new Map<string, Known>();
  private readonly readAt = new Map<string, number>();
  private readonly reading = new Set<string>();
  private readonly claims = new Set<string>();
  /** The number of this node's last record, as far as it knows. */
  private sequence = 0;
  private acked: Own | undefined;
  /** What was sent after that, and nobody knows whether it counts. */
  private unsure: Own[] = [];
  private flight: Own | undefined;
  private number = 0;
  private waiting: { readonly since: number; readonly done: () => void }[] = [];
  private startedAt: number | undefined;
  private warned = false;
  /** True while every record of this node came straight after its last one: nobody can have called it dead. */
  unbroken = true;
  /** Since the start: how often a record could not be read or written. */
  failures = 0;
  /** How often this node has called another one dead. */
  claimed = 0;

  constructor(options: {
    readonly self: NodeRun;
    readonly records: NodeRecords;
    readonly log: Logger;
    readonly now: () => number;
    readonly listener: Witness["listener"];
  }) {
    const { self, records, log, now, listener } = options;
    this.self = self;
    this.records = records;
    this.log = log;
    this.now = now;
    this.listener = listener;
  }

  /** False: this node could not write its record since it was started. */
  get capable(): boolean {
    return this.acked !== undefined || this.sequence > 0 || this.now() - (this.startedAt ?? this.now()) < INCAPABLE_MS;
  }

  /** The number of this node's last record; 0: it has none. Votes against earlier ones are void. */
  get written(): number {
    return this.acked ? this.sequence : 0;
  }

  /** When the last record was written that counts; undefined: none. */
  get writtenAt(): number | undefined {
    return this.acked?.sentAt;
  }

  /** The sets of which most must confirm this node, as long as nobody knows which record counts. */
  get sets(): readonly (readonly string[])[] {
    return this.acked
      ? [this.acked.set, ...[...this.unsure, ...(this.flight ? [this.flight] : [])].map((o) => o.set)]
      : [];
  }

  /** Until when this node may act, if most of its set confirm it. */
  get longUntil(): number {
    return this.acked ? this.acked.sentAt + LONG_MS - LONG_MARGIN_MS : Number.NEGATIVE_INFINITY;
  }

  /** Until when it may act, whoever hears it. */
  get aloneUntil(): number {
    const { acked, unsure, flight } = this;
    if (acked?.kind !== "alone" || flight?.kind === "calm" || unsure.some(({ kind }) => kind === "calm"))
      return Number.NEGATIVE_INFINITY;
    return acked.sentAt + acked.patienceMs - MARGIN_MS;
  }

  /**
   * Replaces this node's record if it is time to. `alone`: it has nothing else by which to act. `voted`: another node
   * wants to call it dead, by the present record.
   */
  keep(
    now: number,
    state: {
      readonly set: readonly string[];
      readonly alone: boolean;
      readonly voted: boolean;
      readonly patienceMs: number;
    },
  ): void {
    this.startedAt ??= now;
    if (this.flight) return;
    const { acked, unsure } = this;
    const last = unsure.at(-1) ?? acked;
    const agoMs = last ? now - last.sentAt : Number.POSITIVE_INFINITY;
    const isOld = !acked || state.alone || acked.kind === "alone" || !isSame(acked.set, state.set);
    const isAsked = state.voted || this.waiting.length > 0;
    const isDue = agoMs >= CALM_MS || (agoMs >= ALONE_MS && (isOld || isAsked || unsure.length > 0));
    if (!isDue && (this.waiting.length === 0 || unsure.length > 0)) return;
    const kind = state.alone ? "alone" : "calm";
    void this.write({ number: ++this.number, kind, set: state.set, patienceMs: state.patienceMs, sentAt: now });
  }

  /** Resolves when a record is written that was sent after this call. */
  renewed(): Promise<void> {
    return new Promise((done) => this.waiting.push({ since: this.now(), done }));
  }

  private async write(own: Own): Promise<void> {
    const { node, epoch } = this.self;
    this.flight = own;
    const { kind, set, patienceMs, number } = own;
    const text = JSON.stringify({ version: 1, kind, epoch, set, patienceMs, number });
    try {
      const sequence = await this.records.write(node, text, this.sequence);
      if (sequence === undefined) await this.readOwn(own);
      else this.counts(own, sequence);
      if (this.warned) this.log.info("cluster: JetStream answers again");
      this.warned = false;
    } catch (err) {
      if (!this.unsure.some((one) => one.kind === kind && isSame(one.set, set)) || this.unsure.at(-1)?.kind !== kind)
        this.unsure.push(own);
      else this.unsure[this.unsure.length - 1] = own;
      this.failed(err);
    } finally {
      this.flight = undefined;
    }
  }

  private counts(own: Own, sequence: number): void {
    this.sequence = sequence;
    this.acked = own;
    this.unsure = [];
    this.listener.wrote();
    const done = this.waiting.filter(({ since }) => since <= own.sentAt);
    this.waiting = this.waiting.filter(({ since }) => since > own.sentAt);
    for (const one of done) one.done();
  }

  /** The record is not the one that this node knew of: its own, of which it had not heard, or somebody else's. */
  private async readOwn(own: Own): Promise<void> {
    const found = await this.records.read(this.self.node);
    const record = found && read(found.text);
    const before = this.sequence;
    this.sequence = found?.sequence ?? 0;
    if (record?.kind !== "dead" && record?.epoch === this.self.epoch) {
      const sent = [own, ...this.unsure].find(({ number }) => number === record.number);
      if (sent) this.counts(sent, this.sequence);
      else this.acked = undefined;
      return;
    }
    this.acked = undefined;
    this.unsure = [];
    // Without a record before: it is of an earlier run.
    if (before > 0) this.unbroken = false;
    if (record?.kind !== "dead" || record.epoch !== this.self.epoch) return;
    this.unbroken = false;
    this.listener.taken();
  }

  /** Reads a node's record, if that was not done just now. */
  lookUp(node: string): void {
    const now = this.now();
    if (this.reading.has(node) || now - (this.readAt.get(node) ?? Number.NEGATIVE_INFINITY) < READ_MS) return;
    this.readAt.set(node, now);
    this.reading.add(node);
    void this.readOther(node).finally(() => this.reading.delete(node));
  }

  private async readOther(node: string): Promise<void> {
    try {
      const found = await this.records.read(node);
      const sequence = found?.sequence ?? 0;
      if (this.known.get(node)?.sequence === sequence) return;
      const record = found && read(found.text);
      const { kind = "calm", epoch = -1, set = [], patienceMs = DEAD_MS, by = [] } = record ?? {};
      this.known.set(node, { sequence, kind, epoch, set, patienceMs, by, since: this.now() });
    } catch (err) {
      this.failed(err);
    }
  }

  /** The number of the node's record as it was read while it was missed; undefined: it was not. */
  recordOf(node: string): number | undefined {
    return this.known.get(node)?.sequence;
  }

  /** The node is heard, or gone: what was read of it is of no use the next time. */
  forget(node: string): void {
    this.known.delete(node);
    this.readAt.delete(node);
  }

  /**
   * For a node that starts: who has called its run before dead, and may have its sessions. None, if that cannot be
   * known.
   */
  async claimers(): Promise<readonly string[]> {
    const { node, epoch } = this.self;
    await this.readOther(node);
    const found = this.known.get(node);
    this.known.delete(node);
    return found?.kind === "dead" && found.epoch < epoch ? found.by.filter((by) => by !== node) : [];
  }

  /**
   * For a node that starts, and does not hear that one: if it is dead, who has called it so; else undefined. It is dead
   * if its record does not change for long.
   */
  async heirsOf(node: string): Promise<readonly string[] | undefined> {
    await this.readOther(node);
    const known = this.known.get(node);
    if (!known) return undefined;
    if (known.kind === "dead") return known.by;
    const isLong = this.now() - known.since >= LONG_MS;
    if (isLong && !this.claims.has(node)) await this.callDead({ node, epoch: known.epoch }, known);
    return undefined;
  }

  /** Whether this node is about to call that one dead, and does not know yet whether it may. */
  isClaiming(node: string): boolean {
    return this.claims.has(node);
  }

  /**
   * Calls a run dead, if it may. `votes`: whether that node, too, has not heard the run since that record. `isGone`:
   * its process is gone for sure.
   */
  claim(run: NodeRun, votes: (node: string, record: number) => boolean, isGone: boolean): void {
    const known = this.known.get(run.node);
    if (!known || this.claims.has(run.node) || !this.may(run, known, votes, isGone)) return;
    this.claims.add(run.node);
    void this.callDead(run, known);
  }

  private may({ epoch }: NodeRun, known: Known, votes: (node: string, record: number) => boolean, isGone: boolean) {
    const { kind, sequence, set } = known;
    const agoMs = this.now() - known.since;
    if (agoMs >= LONG_MS) return true;
    if (known.epoch !== epoch) return false;
    if (kind === "dead" || isGone) return true;
    if (kind === "alone" && agoMs < Math.max(DEAD_MS, known.patienceMs)) return false;
    return 2 * set.filter((node) => votes(node, sequence)).length >= set.length;
  }

  private async callDead({ node, epoch }: NodeRun, { sequence }: Known): Promise<void> {
    const about = { version: 1, kind: "dead", epoch, set: [], patienceMs: DEAD_MS, number: 0 };
    const text = () => {
      const { kind, epoch: of, by = [] } = this.known.get(node) ?? {};
      const others = kind === "dead" && of === epoch ? by : [];
      return JSON.stringify({ ...about, by: [...new Set([...others, this.self.node])] });
    };
    try {
      for (let after: number | undefined = sequence; after !== undefined; ) {
        if ((await this.records.write(node, text(), after)) !== undefined) {
          this.claimed++;
          this.forget(node);
          this.listener.dead({ node, epoch });
          return;
        }
        // The node lives; or another one was first, and then this one may say so as well.
        await this.readOther(node);
        const found = this.known.get(node);
        after =
          found?.kind === "dead" && found.epoch === epoch && found.sequence !== after ? found.sequence : undefined;
      }
    } catch (err) {
      this.failed(err);
      this.forget(node); // nobody knows whether it was written
    } finally {
      this.claims.delete(node);
    }
  }

  private failed(err: unknown): void {
    this.failures++;
    if (this.warned) return;
    this.warned = true;
    this.log.warn({ err }, "cluster: JetStream does not answer: no node can be called dead until it does");
  }
}

const isSame = (one: readonly string[], other: readonly string[]): boolean =>
  one.length === other.length && one.every((node, i) => node === other[i]);

const KINDS: readonly unknown[] = ["calm", "alone", "dead"];

interface Read {
  readonly kind: Kind;
  readonly epoch: number;
  readonly set: readonly string[];
  readonly patienceMs: number;
  readonly number: number;
  readonly by: readonly string[];
}

/** A record as a node wrote it; undefined: it is none. */
function read(text: string): Read | undefined {
  const found = readJson(text, 3);
  if (!found.ok || typeof found.value !== "object" || found.value === null) return undefined;
  const { version, kind, epoch, set, patienceMs, number, by = [] } = found.value as Record<string, unknown>;
  if (version !== 1 || !KINDS.includes(kind)) return undefined;
  if (!isCount(epoch) || !isCount(patienceMs) || !isCount(number) || !isList(set) || !isList(by)) return undefined;
  return { kind: kind as Kind, epoch, set, patienceMs, number, by };
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

const isList = (value: unknown): value is string[] =>
  Array.isArray(value) && value.length <= 1_000 && value.every((node) => typeof node === "string");
