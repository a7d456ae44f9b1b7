import { hash } from "node:crypto";
import { sameSecret } from "../sip/digest.ts";

/** What the relay knows of a nonce that came back. */
export type NonceState =
  /** Issued here, to that source, young enough. */
  | { readonly kind: "fresh"; readonly sequence: number }
  /** Issued here, to that source, too long ago. */
  | { readonly kind: "expired"; readonly sequence: number }
  /** Not issued here (or before a restart, or to somebody else). */
  | { readonly kind: "foreign" };

/** A sequence number and a time take so many octets each: more than either ever needs. */
const NUMBER_BYTES = 6;
const BODY_DIGITS = 2 * NUMBER_BYTES * 2;
/** In a cluster, a nonce begins with the name of the node that made it. */
const MAKER_CHARACTERS = 6;
const MAC_DIGITS = 32;

/** Clients answer a challenge at once: so many challenges may lie between. */
const LATEST_DIGITS = 3;
const LATEST = 16 ** LATEST_DIGITS;

const FOREIGN: NonceState = { kind: "foreign" };

/**
 * Nonces that need no memory until they are used (RFC 7616 §5.4): a sequence number and the time of issue, signed
 * together with the source to which they were issued, so that a nonce says by itself whether it is ours, whose, and
 * how old.
 */
export class Nonces {
  private sequence = 0;
  /** Where the two numbers of a nonce are written and read. */
  private readonly octets = Buffer.alloc(2 * NUMBER_BYTES);
  private readonly before: string;
  private readonly after: string;
  private readonly lifetimeMs: number;
  private readonly maker: string;
  /** What was signed last, so that a nonce that soon comes back is not signed again; each at its sequence's place. */
  private readonly bodies: string[] = new Array(LATEST).fill("");
  private readonly sources: string[] = new Array(LATEST).fill("");
  private readonly macs: string[] = new Array(LATEST).fill("");

  /** `secret`: at least 32 random bytes. `maker`: this node's name; "": there are no other nodes. */
  constructor(secret: Buffer, lifetimeMs: number, maker = "") {
    if (secret.length < 32) throw new RangeError("the secret of nonces needs at least 32 bytes");
    if (maker !== "" && maker.length !== MAKER_CHARACTERS) throw new RangeError("a node's name has six characters");
    this.maker = maker;
    this.before = hash("sha256", Buffer.concat([secret, Buffer.from("before")]));
    this.after = hash("sha256", Buffer.concat([secret, Buffer.from("after")]));
    this.lifetimeMs = lifetimeMs;
  }

  /** Number of the nonce that was issued last. */
  get last(): number {
    return this.sequence;
  }

  /** A new nonce for that source: the maker's name, then lower-case hex digits. */
  issue(nowMs: number, source: string): string {
    const { octets } = this;
    octets.writeUIntBE(++this.sequence, 0, NUMBER_BYTES);
    octets.writeUIntBE(nowMs, NUMBER_BYTES, NUMBER_BYTES);
    const body = this.maker + octets.toString("hex");
    const mac = this.sign(body, source);
    const place = this.sequence % LATEST;
    this.bodies[place] = body;
    this.sources[place] = source;
    this.macs[place] = mac;
    return body + mac;
  }

  /** Whether the nonce was made with this secret, by this maker, for that source. */
  made(nonce: string, source: string): boolean {
    const { maker } = this;
    const digits = maker.length + BODY_DIGITS;
    if (nonce.length !== digits + MAC_DIGITS || !nonce.startsWith(maker)) return false;
    return sameSecret(nonce.slice(digits), this.macOf(nonce.slice(0, digits), source));
  }

  private macOf(body: string, source: string): string {
    const { length } = this.maker;
    const place = Number.parseInt(body.slice(length + 2 * NUMBER_BYTES - LATEST_DIGITS, length + 2 * NUMBER_BYTES), 16);
    if (this.bodies[place] === body && this.sources[place] === source) return this.macs[place]!;
    return this.sign(body, source);
  }

  check(nonce: string, nowMs: number, source: string): NonceState {
    if (!this.made(nonce, source)) return FOREIGN;
    const { octets, maker } = this;
    octets.write(nonce.slice(maker.length, maker.length + BODY_DIGITS), "hex");
    const ageMs = nowMs - octets.readUIntBE(NUMBER_BYTES, NUMBER_BYTES);
    const kind = ageMs > this.lifetimeMs || ageMs < -this.lifetimeMs ? "expired" : "fresh";
    return { kind, sequence: octets.readUIntBE(0, NUMBER_BYTES) };
  }

  /**
   * A hash of the text between two secrets. Only half of it is shown, so nobody can extend it to a longer text. It is
   * four times as fast as `createHmac`, since it makes no object and hashes once.
   */
  private sign(body: string, source: string): string {
    return hash("sha256", `${this.before}${body}${source}${this.after}`).slice(0, MAC_DIGITS);
  }
}

/** Which node made the nonce, as it says itself; nobody has checked that. Undefined: none of a cluster. */
export const makerIn = (nonce: string): string | undefined =>
  nonce.length === MAKER_CHARACTERS + BODY_DIGITS + MAC_DIGITS ? nonce.slice(0, MAKER_CHARACTERS) : undefined;

/** How far back a count may lie and still be accepted, once: UDP may swap requests. */
const WINDOW = 32;

/**
 * The nonce counts seen (RFC 7616 §3.4, nc), in memory of a fixed size: a ring with one slot for a nonce by its
 * sequence number. A slot is taken when a nonce is first used rightly, so unanswered challenges cost nothing. A nonce
 * whose slot went to a later one is stale.
 */
export class NonceCounts {
  private readonly sequences: Float64Array;
  private readonly last: Uint32Array;
  /** Bit n: the count `last - n` was seen. */
  private readonly seen: Uint32Array;
  /** Who signed in with the nonce. */
  private readonly users: (string | undefined)[];

  constructor(slots: number) {
    this.sequences = new Float64Array(slots);
    this.last = new Uint32Array(slots);
    this.seen = new Uint32Array(slots);
    this.users = new Array(slots).fill(undefined);
  }

  /**
   * Whether that user has signed in with the nonce before, and nobody has failed with it since. Nobody else has seen
   * such a nonce, so the sign-in is no guesser's.
   */
  isOf(sequence: number, user: string): boolean {
    const slot = sequence % this.sequences.length;
    return this.sequences[slot] === sequence && this.users[slot] === user;
  }

  /**
   * Notes that the nonce is issued to a user who has just shown the password: `isOf` is true for it even before it is
   * used.
   */
  grant(sequence: number, user: string): void {
    const slot = sequence % this.sequences.length;
    if (this.sequences[slot]! > sequence) return;
    this.sequences[slot] = sequence;
    this.users[slot] = user;
    this.last[slot] = 0;
    this.seen[slot] = 1;
  }

  /** Somebody failed to sign in with it. */
  spoil(sequence: number): void {
    const slot = sequence % this.sequences.length;
    if (this.sequences[slot] === sequence) this.users[slot] = undefined;
  }

  /**
   * Notes a count, and who signed in with it. False: the count was seen before, or is too old to know; the sign-in must
   * not be accepted then.
   */
  use(sequence: number, count: number, user?: string): boolean {
    const slot = sequence % this.sequences.length;
    const holder = this.sequences[slot]!;
    if (holder > sequence || count < 1) return false;
    if (holder < sequence) {
      this.sequences[slot] = sequence;
      this.users[slot] = user;
      this.last[slot] = count;
      this.seen[slot] = 1;
      return true;
    }
    const ahead = count - this.last[slot]!;
    if (ahead > 0) {
      this.seen[slot] = ahead >= WINDOW ? 1 : (this.seen[slot]! << ahead) | 1;
      this.last[slot] = count;
      return true;
    }
    if (ahead <= -WINDOW) return false;
    const bit = 1 << -ahead;
    if ((this.seen[slot]! & bit) !== 0) return false;
    this.seen[slot] = this.seen[slot]! | bit;
    return true;
  }
}
