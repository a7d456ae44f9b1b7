import { randomBytes } from "node:crypto";
import { makerIn, Nonces } from "../directory/nonces.ts";
import type { NonceUse, OtherNonces } from "../directory/sign-in.ts";
import type { Clock, TimerHandle } from "../support/clock.ts";
import type { NodeRun } from "./beat.ts";
import type { Line, Peers, Talk } from "./talk.ts";

/*
 * Digest sign-in over several nodes (RFC 7616 §5.4, §5.12). A challenge of one node can be answered at any other. Each
 * node signs its nonces with a key of its own run, which every other node has: it is made of the secret that the
 * cluster shares (bus.secretFile), so it is on no disk and on no wire. Without such a secret, each node draws a key at
 * its start, and tells the others.
 *
 * The counts of a nonce stand in one place, at the node that made it. Another node that gets the nonce checks the
 * password, and then asks that node whether the count is new. So no count is taken twice, not even within some
 * milliseconds at two nodes, and clients that stay at one node cost nothing. If the maker does not answer, since it is
 * dead or NATS is away, nobody knows the counts: the client gets a new nonce with stale=true (RFC 7616 §3.3), and its
 * user is not asked for the password again.
 */

/** How long a client waits for the node that made its nonce. A dead node is noticed sooner. */
const ANSWER_MS = 1_000;
/** Questions on their way. */
const MAX_ASKED = 10_000;

interface Asked {
  readonly node: string;
  readonly timer: TimerHandle;
  settle(isNew: boolean): void;
}

/** The parts of an authenticator that are shared: users and app servers have one each. */
export interface NonceRealm {
  readonly otherNonces: OtherNonces;
  /** For this node's own nonces. */
  readonly secret: Buffer;
  readonly node: string;
  /** Who answers the questions of other nodes. */
  answerBy(answer: (use: NonceUse) => boolean): void;
}

export class SharedNonces {
  /** Since the start: nonces of other nodes; how many of them were refused; questions of others that were answered. */
  readonly stats = { asked: 0, stale: 0, answered: 0 };
  private readonly talk: Talk;
  private readonly peers: Pick<Peers, "runOf">;
  private readonly clock: Clock;
  private readonly keys: (purpose: string) => readonly Buffer[];
  /** Undefined: the key is made of the cluster's secret. */
  private readonly drawn: Buffer | undefined;
  /** The nonces of each other node's present run, with each key that it may have. */
  private readonly makers = new Map<string, { readonly epoch: number; readonly nonces: readonly Nonces[] }>();
  private readonly asked = new Map<number, Asked>();
  private readonly answers = new Map<string, (use: NonceUse) => boolean>();
  private number = 0;

  /** `keys`: the keys for a purpose that all nodes share; none: they share no secret. */
  constructor(options: {
    readonly talk: Talk;
    readonly peers: Pick<Peers, "runOf">;
    readonly clock: Clock;
    readonly keys: (purpose: string) => readonly Buffer[];
  }) {
    const { talk, peers, clock, keys } = options;
    this.talk = talk;
    this.peers = peers;
    this.clock = clock;
    this.keys = keys;
    this.drawn = this.keys(purposeOf(talk.self))[0] === undefined ? randomBytes(32) : undefined;
    talk.on("key", (line, from) => this.takeKey(line, from));
    talk.on("nonce?", (line, from) => this.answer(line, from));
    talk.on("nonce", (line, from) => this.answered(line, from));
  }

  /** The other node gets the key that it cannot make itself. */
  greet({ node }: NodeRun): void {
    if (this.drawn) this.talk.tellTo(node, ["key", this.drawn.toString("base64url")]);
  }

  gone(node: string): void {
    this.makers.delete(node);
    for (const asked of [...this.asked.values()]) if (asked.node === node) asked.settle(false);
  }

  stop(): void {
    for (const asked of [...this.asked.values()]) asked.settle(false);
  }

  /** `name` tells the realms apart. */
  realm(name: string): NonceRealm {
    return {
      secret: this.drawn ?? this.keys(purposeOf(this.talk.self))[0]!,
      node: this.talk.self.node,
      answerBy: (answer) => void this.answers.set(name, answer),
      otherNonces: {
        makerOf: (nonce, source) => {
          const maker = makerIn(nonce);
          const nonces = maker === undefined ? undefined : this.noncesOf(maker);
          return nonces?.some((of) => of.made(nonce, source)) ? maker : undefined;
        },
        use: (maker, use) => this.ask(maker, name, use),
      },
    };
  }

  private noncesOf(node: string): readonly Nonces[] | undefined {
    const run = this.peers.runOf(node);
    if (!run) return undefined;
    const known = this.makers.get(node);
    if (known?.epoch === run.epoch) return known.nonces;
    if (this.drawn) return undefined; // its key has not come yet
    return this.know(run, this.keys(purposeOf(run)));
  }

  private know({ node, epoch }: NodeRun, keys: readonly Buffer[]): readonly Nonces[] {
    const nonces = keys.map((key) => new Nonces(key, 0, node)); // only their maker says how old they are
    this.makers.set(node, { epoch, nonces });
    return nonces;
  }

  private takeKey([, text]: Line, from: NodeRun): void {
    const key = Buffer.from(typeof text === "string" ? text : "", "base64url");
    if (this.drawn && key.length === 32) this.know(from, [key]);
  }

  private ask(node: string, realm: string, { nonce, source, count, user }: NonceUse): Promise<boolean> {
    this.stats.asked++;
    if (this.asked.size >= MAX_ASKED) {
      this.stats.stale++;
      return Promise.resolve(false);
    }
    const id = ++this.number;
    return new Promise((resolve) => {
      const settle = (isNew: boolean) => {
        this.clock.clearTimeout(timer);
        this.asked.delete(id);
        if (!isNew) this.stats.stale++;
        resolve(isNew);
      };
      const timer = this.clock.setTimeout(() => settle(false), ANSWER_MS);
      this.asked.set(id, { node, timer, settle });
      this.talk.tellTo(node, ["nonce?", id, realm, nonce, source, count, user]);
    });
  }

  private answer([, id, realm, nonce, source, count, user]: Line, from: NodeRun): void {
    if (typeof id !== "number" || typeof realm !== "string" || typeof nonce !== "string") return;
    if (typeof source !== "string" || typeof user !== "string" || !isCount(count)) return;
    this.stats.answered++;
    const isNew = this.answers.get(realm)?.({ nonce, source, count, user }) ?? false;
    this.talk.tellTo(from.node, ["nonce", id, isNew ? 1 : 0]);
  }

  private answered([, id, isNew]: Line, from: NodeRun): void {
    const asked = typeof id === "number" ? this.asked.get(id) : undefined;
    if (asked?.node === from.node) asked.settle(isNew === 1);
  }
}

const purposeOf = ({ node, epoch }: NodeRun): string => `nonces of ${node} ${epoch}`;
const isCount = (count: unknown): count is number => Number.isInteger(count) && (count as number) <= 0xffff_ffff;
