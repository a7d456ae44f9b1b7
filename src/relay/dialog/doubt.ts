import type { SipRequest, SipResponse } from "../../sip/message.ts";
import type { Random } from "../../support/random.ts";
import { sourceKey } from "../../support/source.ts";
import type { ClientTransactionUser } from "../../transaction/types.ts";
import type { Flow } from "../../transport/types.ts";
import type { CameFrom } from "./reach.ts";

/*
 * Whether a client is where it seems to be. A client may move within a dialog without signing in again, and over UDP it
 * may forge its source address (RFC 3261 §26.3.2.4, RFC 4732 §3.1). What the relay repeats until it is answered would
 * then hit somebody who has not asked.
 *
 * So little is repeated to an address from which the client has come for the first time, until something proves that
 * the client hears there. Either it answers a request of ours, whose branch nobody else knows. Or it sends a request to
 * our new Contact, which has a token that only our answer has told. Clients need not know of this: what they do anyway
 * is enough. To those that keep an old Contact everything is sent, and repeated a few times.
 */

/** How many times one request or answer may be repeated to a doubtful address. */
export const REPEATS_OF_ONE = 2;
/** How many times all of them together may be repeated to it, while it is doubtful. */
const REPEATS = 8;

/** What is known of a client that has been at more than one address. */
export class Doubt {
  /** The last address that was proved, as a source key. */
  private known: string;
  /** Where the client seems to be, without proof; undefined: it is at the proved address. */
  private at: string | undefined;
  private token = "";
  private repeatsLeft = REPEATS;

  constructor(known: string) {
    this.known = known;
  }

  /** The client seems to be at the end of this flow now. Returns the token for our Contact where that is in doubt. */
  movedTo(flow: Flow, random: Pick<Random, "token">): string | undefined {
    const at = sourceKey(flow.remoteAddress);
    if (at === this.at) return this.token;
    this.at = at === this.known ? undefined : at;
    if (this.at !== undefined && flow.reliable) this.prove(at); // a connection cannot be forged
    if (this.at === undefined) return undefined;
    this.token = random.token(64);
    return this.token;
  }

  /** A request of the client came. The token in its Request-URI proves that the client has heard our answer. */
  heard({ uri }: SipRequest, flow: Flow): void {
    const { at, token } = this;
    if (at !== undefined && uri.includes(token) && sourceKey(flow.remoteAddress) === at) this.prove(at);
  }

  /**
   * Whether it is doubtful that the client hears at that address. Only its last address can be doubtful, not a proxy or
   * another address to which requests go.
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

  /** Wraps the user of a request that goes to the doubtful address: an answer proves that the client hears there. */
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

/** The doubt about a client that has opened a dialog with a request that anybody could send: no address is proved. */
export function doubtFrom(flow: Flow, random: Pick<Random, "token">): { doubt: Doubt; told: string | undefined } {
  const doubt = new Doubt("");
  return { doubt, told: doubt.movedTo(flow, random) };
}

/**
 * A client came from `was`, and comes by that flow now. Returns the doubt about its address, if any: most clients never
 * move.
 */
export function doubtOf(doubt: Doubt | undefined, was: CameFrom | undefined, flow: Flow): Doubt | undefined {
  if (doubt || was === undefined || was.address === flow.remoteAddress) return doubt;
  const known = sourceKey(was.address);
  return known === sourceKey(flow.remoteAddress) ? undefined : new Doubt(known);
}

/**
 * How many times an answer may be repeated to the address that the request within a dialog came from; undefined: as
 * often as it takes.
 */
export function repeatsTo(
  flow: Flow,
  { doubt, cameFrom }: { readonly doubt?: Doubt | undefined; readonly cameFrom?: CameFrom | undefined },
): number | undefined {
  if (flow.reliable || cameFrom === undefined) return undefined; // an app server's dialog has no `cameFrom`
  if (doubt) return doubt.repeatsTo(flow.remoteAddress);
  if (cameFrom.address === flow.remoteAddress || sourceKey(cameFrom.address) === sourceKey(flow.remoteAddress))
    return undefined;
  return REPEATS_OF_ONE;
}
