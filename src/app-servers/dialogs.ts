import { SERVICE_HEADER, SESSION_HEADER } from "../charging/charges/header-names.ts";
import { sessionOf } from "../relay/model/session-names.ts";
import type { SipRequest } from "../sip/message.ts";
import type { SessionSeen } from "./events.ts";

/** What the SIP part remembers of a dialog. All of it can be missing after a restart, or at another node. */
export interface Remembered {
  seen: SessionSeen;
  /** The highest CSeq of a request of ours. */
  seq: number;
  /** The change that waits for its ACK, by the CSeq of its INVITE. */
  change?: { readonly seq: number; readonly to: SessionSeen };
}

/** As `Headers.get` takes them. */
export const SESSION_KEY = SESSION_HEADER.toLowerCase();
export const SERVICE_KEY = SERVICE_HEADER.toLowerCase();

const MOST = 50_000;

/** The dialogs of an app server's SIP part, by Call-ID. */
export class Dialogs {
  private readonly all = new Map<string, Remembered>();

  get(callId: string): Remembered | undefined {
    return this.all.get(callId);
  }

  /** Remembers a dialog; `seen`: its session as it is now. */
  keep(callId: string, seen: SessionSeen): Remembered {
    const known = this.all.get(callId);
    if (known) {
      known.seen = seen;
      return known;
    }
    const made: Remembered = { seen, seq: 0 };
    this.all.set(callId, made);
    if (this.all.size > MOST) this.all.delete(this.all.keys().next().value!);
    return made;
  }

  forget(callId: string): void {
    this.all.delete(callId);
  }
}

/** The session that a request's Call-ID names: of a dialog about which nothing else is known any more. */
export const namedBy = ({ callId }: SipRequest): SessionSeen => ({ session: sessionOf(callId) ?? callId });
