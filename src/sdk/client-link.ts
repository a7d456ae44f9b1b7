import { type Body, Grammar, type URI } from "sip.js/lib/core/index.js";
import type { ClientSession, SipClientOptions } from "./client-api.ts";
import type { Connection } from "./connection.ts";
import type { Dialog } from "./dialog.ts";
import type { UserAgent } from "./user-agent.ts";

/** A session, and the call of `move` that waits for the session to come. */
export interface Standing {
  readonly session: ClientSession;
  moving?:
    | { readonly service: string; readonly body: Body; readonly done: (session: ClientSession) => void }
    | undefined;
}

/** The client's connection to the relay, and what lives on it. */
export interface Link {
  /** Another one after the connection was lost and made again. */
  connection: Connection;
  /** Keeps the connection open. */
  readonly pinging: ReturnType<typeof setInterval>;
  readonly agent: UserAgent;
  readonly dialogs: Set<Dialog>;
  /**
   * One function for each request without a final answer: gives it up when the connection is lost or the client closes.
   */
  readonly pending: Set<(reason: string) => void>;
  /** Sessions by the name of their dialog, as the relay writes it into Target-Dialog. */
  readonly sessions: Map<string, Standing>;
  readonly options: SipClientOptions;
  readonly domain: string;
}

export const uriOf = (service: string, domain: string): string =>
  /^sips?:/i.test(service) ? service : `sip:${encodeURIComponent(service)}@${domain}`;

export function track(link: Link, dialog: Dialog): Dialog {
  link.dialogs.add(dialog);
  void dialog.ended.then(() => link.dialogs.delete(dialog));
  return dialog;
}

export function parseUri(text: string, what: string): URI {
  const uri = Grammar.URIParse(text);
  if (!uri) throw new TypeError(`${what}: ${text} is not a SIP URI`);
  return uri;
}

/** A header field that the caller gives. Must be one line, so that nothing else can be slipped in behind it. */
export function headerLine(name: string, value: string): string {
  if (!/^[A-Za-z0-9.!%*_+`'~-]+$/.test(name) || /[\r\n\0]/.test(value))
    throw new TypeError(`headers: ${name} is not a header of one line`);
  return `${name}: ${value}`;
}
