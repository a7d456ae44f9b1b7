import type { CallRecords } from "../calls/records.ts";
import { makerIn } from "../directory/nonces.ts";
import { parseAuthorization } from "../sip/digest.ts";
import type { SipRequest } from "../sip/message.ts";
import type { Talk } from "./talk.ts";

/** A longer Call-ID is not told: then the node that challenged it has a record too many. */
const MAX_CALL_ID = 256;
/** The first use of a nonce; later ones need no challenge (RFC 7616 §3.4). */
const FIRST = /^0*1$/;

/** Who keeps the INVITEs that were challenged. */
export type Challengers = Pick<CallRecords, "cameAgain" | "checkedHere">;

/**
 * An INVITE that one node challenged comes again to another one: the first is told, so that it does not put on record
 * that nobody came. Only where the nonce is of another node, so that clients that stay at one node cost nothing. A line
 * that is lost leaves one record too many, which says what this node has seen.
 */
export class SharedChallenges {
  private readonly talk: Talk;

  constructor(talk: Talk) {
    this.talk = talk;
  }

  attach(calls: Challengers): void {
    calls.checkedHere = (request) => {
      if (request.callId.length <= MAX_CALL_ID && this.isOfAnother(request))
        this.talk.tell(["came-again", request.callId]);
    };
    this.talk.on("came-again", ([, callId]) => {
      if (typeof callId === "string" && callId.length <= MAX_CALL_ID) calls.cameAgain(callId);
    });
  }

  private isOfAnother({ headers }: SipRequest): boolean {
    return headers.fields.some(({ key, value }) => {
      if (key !== "authorization") return false;
      const read = parseAuthorization(value);
      if (!read.ok || !FIRST.test(read.value.nc ?? "1")) return false;
      const maker = makerIn(read.value.nonce);
      return maker !== undefined && maker !== this.talk.self.node;
    });
  }
}
