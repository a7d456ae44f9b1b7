import type { SipRequest, SipResponse } from "../../sip/message.ts";
import type { Random } from "../../support/random.ts";
import { sourceKey } from "../../support/source.ts";
import type { ClientTransactionUser } from "../../transaction/types.ts";
import type { Flow } from "../../transport/types.ts";
import type { CameFrom } from "./reach.ts";

/*
 * Whether a client is where it seems to be. A client may move within a dialog without signing in again, and by UDP it
 * may write any source address (RFC 3261 §26.3.2.4, RFC 4732 §3.1): what the relay repeats until it is answered would
 * come to somebody who has not asked. So nothing is repeated often to an address that the client has just come from
 * for the first time, until something shows that it hears there: an answer to a request of ours, of which nobody else
 * knows the branch; or a request that is sent to our new Contact, in which stands what only our answer has said.
 * Clients need know nothing of it: all that they do anyhow is enough, and to those that keep an old Contact
 * everything is sent, and repeated a few times.
 */

/** One request or answer may be repeated so many times to a doubtful place, */
export const REPEATS_OF_ONE = 2;
/** and all together so many times, until it is no longer doubtful. */
const REPEATS = 8;

/** What is known of a client that has been at more than one place. */
export class Doubt {
  /** Where it was when it was certain: a source key. */
  private known: string;
  /** Where it seems to be, in doubt; undefined: where it is known to be. */
  private at: string | undefined;
  private token = "";
  private repeatsLeft = REPEATS;

  constructor(known: string) {
    this.known = known;
  }

  /** It seems to be there now. Returns what our Contact says from now on, where that is in doubt. */
  movedTo(flow: Flow, random: Pick<Random, "token">): string | undefined {
    const at = sourceKey(flow.remoteAddress);
    if (at === this.at) return this.token;
    this.at = at === this.known ? undefined : at;
    if (this.at !== undefined && flow.reliable) this.prove(at); // a connection cannot be forged
    if (this.at === undefined) return undefined;
    this.token = random.token(64);
    return this.token;
  }

  /** A request of the client's came: it may show that it has heard. */
  heard({ uri }: SipRequest, flow: Flow): void {
    const { at, token } = this;
    if (at !== undefined && uri.includes(token) && sourceKey(flow.remoteAddress) === at) this.prove(at);
  }

  /**
   * Whether it is in doubt that the client hears at that address. What the operator has named, a proxy or a network,
   * is no doubtful place.
   */
  isAbout(address: string): boolean {
    return this.at !== undefined && sourceKey(address) === this.at;
  }

  /** How many times something may be repeated to an address; undefined: as often as it takes. */
  repeatsTo(address: string): number | undefined {
    if (sourceKey(address) === this.known) return undefined;
    const repeats = Math.min(REPEATS_OF_ONE, this.repeatsLeft);
    this.repeatsLeft -= repeats;
    return repeats;
  }

  /** The user of a request that goes to the doubtful place: whoever answers it has heard it. */
  listening(user: ClientTransactionUser): ClientTransactionUser {
    const { at } = this;
    const answered = () => {
      if (at !== undefined && this.at === at) this.prove(at);
    };
    return {
      provisional: (response: SipResponse) => {
        answered();
        user.provisional?.(response);
      },
      final: (response: SipResponse) => {
        answered();
        user.final(response);
      },
      timeout: () => user.timeout(),
      transportError: (reason: string) => user.transportError(reason),
    };
  }

  private prove(at: string): void {
    this.known = at;
    this.at = undefined;
    this.repeatsLeft = REPEATS;
  }
}

/** The doubt about a client that has opened a dialog by what anybody could send: it has been nowhere for certain. */
export function doubtFrom(flow: Flow, random: Pick<Random, "token">): { doubt: Doubt; told: string | undefined } {
  const doubt = new Doubt("");
  return { doubt, told: doubt.movedTo(flow, random) };
}

/** A client came from `was`, and comes by that flow now: whether there is doubt that it is there. Most never move. */
export function doubtOf(doubt: Doubt | undefined, was: CameFrom | undefined, flow: Flow): Doubt | undefined {
  if (doubt || was === undefined || was.address === flow.remoteAddress) return doubt;
  const known = sourceKey(was.address);
  return known === sourceKey(flow.remoteAddress) ? undefined : new Doubt(known);
}

/**
 * How many times an answer to a request within a dialog may be repeated where that came from; undefined: as often as
 * it takes.
 */
export function repeatsTo(
  flow: Flow,
  { doubt, cameFrom }: { readonly doubt?: Doubt | undefined; readonly cameFrom?: CameFrom | undefined },
): number | undefined {
  if (flow.reliable || cameFrom === undefined) return undefined; // an app server's dialog knows no place that it came from
  if (doubt) return doubt.repeatsTo(flow.remoteAddress);
  if (cameFrom.address === flow.remoteAddress || sourceKey(cameFrom.address) === sourceKey(flow.remoteAddress))
    return undefined;
  return REPEATS_OF_ONE;
}
