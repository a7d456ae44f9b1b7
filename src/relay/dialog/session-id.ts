import type { Side } from "../../../machines/events.ts";
import { HeaderField, type SipMessage } from "../../sip/message.ts";
import { headerNamed } from "../../sip/names.ts";
import type { Random } from "../../support/random.ts";

/*
 * Session-ID (RFC 7989): one name for both legs of a session, made of an id for each end. What an end says of itself is
 * passed on. For an end that says nothing the relay makes an id, and puts it into all messages on that end's behalf
 * (§7). Tools that show both legs find them by it.
 */

const NAME = headerNamed("Session-ID");
const KEY = "session-id";
const NIL = "0".repeat(32);

/** A fresh UUID of version 4 (RFC 7989 §4.1, RFC 4122 §4.4). */
export function newUuid(random: Random): string {
  const token = random.token(128);
  const hex = HEX.test(token) ? token : Buffer.from(token).toString("hex").padEnd(32, "0").slice(0, 32);
  return `${hex.slice(0, 12)}4${hex.slice(13, 16)}a${hex.slice(17)}`;
}

/** What `Random` promises is less than this: a test's tokens are no hexadecimal numbers. */
const HEX = /^[0-9a-f]{32}$/;

/** What the sender calls itself: 32 hexadecimal characters. Undefined: nothing, or nothing that is valid (§7). */
function localIn(value: string | undefined): string | undefined {
  if (value === undefined) return undefined;
  const end = value.search(/[;\s]/);
  const local = end < 0 ? value : value.slice(0, end);
  return HEX.test(local) ? local : undefined;
}

/** Whether such a header field may be passed on (§7: what is no UUID is discarded). */
export const isSessionId = (value: string): boolean => localIn(value) !== undefined;

const fieldOf = (local: string, remote: string): HeaderField =>
  new HeaderField(NAME, `${local};remote=${remote === "" ? NIL : remote}`);

/**
 * The ids of both ends of one session, as far as they are known. DEVIATION (§7): they are not kept on disk. In a
 * session that goes on after a restart, ids pass on that the ends write, and the relay adds none.
 */
export class SessionIdentity {
  private client: string;
  private server = "";
  /** What goes to each end, made once. */
  private toClient: HeaderField | undefined;
  private toServer: HeaderField | undefined;

  private constructor(client: string) {
    this.client = client;
  }

  /** For a session that comes of this INVITE. */
  static of(invite: SipMessage, random: Random): SessionIdentity {
    const own = localIn(invite.headers.get(KEY));
    return new SessionIdentity(own !== undefined && own !== NIL ? own : newUuid(random));
  }

  /** The client goes on to another app server, and keeps its id (§6). */
  beside(): SessionIdentity {
    return new SessionIdentity(this.client);
  }

  /** A message of that end: its own id counts, also a new one (§8). */
  heard(message: SipMessage, from: Side): void {
    const value = message.headers.get(KEY);
    if (value === undefined) return;
    const local = localIn(value);
    if (local === undefined || local === NIL || local === this[from]) return;
    this.learn(from, local);
  }

  /** The app server's answer: from now on it has an id, its own or one that is made for it. */
  answered(response: SipMessage, random: Random): void {
    this.heard(response, "server");
    if (this.server === "" && response.toTag !== undefined) this.learn("server", newUuid(random));
  }

  private learn(side: Side, id: string): void {
    this[side] = id;
    this.toClient = this.toServer = undefined;
  }

  /** Adds the ids to a message for that end, unless the other end's own are passed on in it. */
  mark({ headers }: SipMessage, towards: Side): void {
    if (headers.has(KEY)) return;
    const { client, server } = this;
    if (client === "" && server === "") return; // §7: it would say nothing
    if (towards === "client") {
      this.toClient ??= fieldOf(server === "" ? NIL : server, client);
      headers.fields.push(this.toClient);
    } else {
      this.toServer ??= fieldOf(client === "" ? NIL : client, server);
      headers.fields.push(this.toServer);
    }
  }
}

/** Adds to an answer of the relay's own whom it is for (§7: the other end is not known). */
export function markRefusal(request: SipMessage, { headers }: SipMessage): void {
  const local = localIn(request.headers.get(KEY));
  if (local !== undefined && local !== NIL && !headers.has(KEY)) headers.fields.push(fieldOf(NIL, local));
}
