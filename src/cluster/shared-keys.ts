import type { Talk } from "./talk.ts";

/** What a key was used for, and how that was refused; both are texts of whoever keeps the keys. */
export interface KeyUse {
  /** The hash of whose key it is, and which. */
  readonly name: string;
  /** The hash of what it was used for. */
  readonly fingerprint: string;
  /** "": it was not refused, or it is not known yet. */
  readonly refusal: string;
}

const HASH = /^[A-Za-z0-9+/]{43}=$/;
/** What one line takes, with the rest of it. */
const MAX_REFUSAL = 800;

/** The Idempotency-Keys of app servers: what one node was asked under a key, all nodes know. */
export class SharedKeys {
  private readonly talk: Talk;
  /** Takes what other nodes tell. */
  heard: ((use: KeyUse) => void) | undefined;

  constructor(talk: Talk) {
    this.talk = talk;
    talk.on("idempotency", ([, name, fingerprint, refusal]) => {
      if (typeof name !== "string" || typeof fingerprint !== "string" || typeof refusal !== "string") return;
      if (HASH.test(name) && HASH.test(fingerprint) && refusal.length <= MAX_REFUSAL)
        this.heard?.({ name, fingerprint, refusal });
    });
  }

  /** A key was used here, or its request was refused. */
  used({ name, fingerprint, refusal }: KeyUse): void {
    this.talk.tell(["idempotency", name, fingerprint, refusal.length <= MAX_REFUSAL ? refusal : ""], "now");
  }
}
