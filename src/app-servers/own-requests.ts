import { formatChargeBody } from "../charging/charges/body.ts";
import type { Charge } from "../charging/events/charge-fields.ts";
import type { AppServer } from "../directory/types.ts";
import type { Core, LegPort, SessionPort } from "../relay/model/core.ts";
import { readFragStatus } from "../sip/frag-status.ts";
import { Headers, type SipMessage, SipRequest, type SipResponse } from "../sip/message.ts";
import { sipUriOf } from "../sip/uri.ts";
import { KINDS } from "../transport/kinds.ts";
import { hostPort } from "../transport/via.ts";
import type { Dialogs } from "./dialogs.ts";

/** What became of a request of the app server within its session. */
export interface Said {
  readonly status: number;
  readonly reason: string;
  /** The answer; undefined: there is none, or it was the report of a move. */
  readonly response?: SipResponse;
}

/** The description by which the rules find the service that a session is to change to. */
export interface ServiceWanted {
  readonly contentType: string;
  readonly content: string;
}

/** A re-INVITE may ring that long at the client, and a move at the next app server. */
const MOST_MS = 240_000;
const NO_ANSWER: Said = { status: 504, reason: "No answer in time" };
const OVER: Said = { status: 481, reason: "The session is over" };

/**
 * What an app server that speaks HTTP does in its sessions: its SIP part sends the requests that a SIP app server would
 * send (M11, M16, M22, M23). All that they need stands in the relay's side of the dialog.
 */
export class OwnRequests {
  private readonly core: Pick<Core, "clock" | "random" | "transport">;
  private readonly dialogs: Dialogs;
  private readonly server: () => AppServer | undefined;
  private readonly write: (message: SipMessage) => void;
  private readonly waiting = new Map<string, { readonly request: SipRequest; done(said: Said): void }>();
  /** Moves under way, by Call-ID. */
  private readonly moves = new Map<string, (said: Said) => void>();

  constructor(
    core: Pick<Core, "clock" | "random" | "transport">,
    dialogs: Dialogs,
    server: () => AppServer | undefined,
    write: (message: SipMessage) => void,
  ) {
    this.core = core;
    this.dialogs = dialogs;
    this.server = server;
    this.write = write;
  }

  /** BYE, with the last charges if there are any. */
  end(leg: LegPort, charges: readonly Charge[]): Promise<Said> {
    const body = charges.length === 0 ? undefined : formatChargeBody(charges);
    return this.ask(leg, "BYE", body && { contentType: body.contentType, content: body.body });
  }

  /** Asks the client for another service. */
  change(leg: LegPort, wanted: ServiceWanted): Promise<Said> {
    return this.ask(leg, "INVITE", wanted, [["Content-Disposition", "session"]]);
  }

  /** Sends the client on. Resolves when the client has a session there, or when it is known that it has none. */
  async move(leg: LegPort, to: string, keep: boolean | undefined): Promise<Said> {
    const { callId } = leg.dialog;
    if (this.moves.has(callId)) return { status: 491, reason: "Request Pending" };
    let done!: (said: Said) => void;
    const reported = this.inTime(new Promise<Said>((resolve) => (done = resolve)));
    this.moves.set(callId, done);
    try {
      const first = keep === undefined ? "" : `;first=${keep ? "keep" : "end"}`;
      const said = await this.ask(leg, "REFER", undefined, [["Refer-To", `<${to}>${first}`]]);
      return said.status < 300 ? await reported : said;
    } finally {
      this.moves.delete(callId);
    }
  }

  /** The answer to a request of ours. */
  answered(response: SipResponse): void {
    const branch = response.via?.params.get("branch") ?? "";
    const waiting = this.waiting.get(branch);
    const { status, reason, cseq } = response;
    if (!waiting || status < 200) return;
    this.waiting.delete(branch);
    if (status < 300 && cseq?.method === "INVITE") this.acknowledge(waiting.request);
    waiting.done({ status, reason, response });
  }

  /** RFC 3515 §2.4.5: what became of a move. */
  notified({ callId, body }: SipRequest): void {
    const read = readFragStatus(body.toString("latin1"));
    if (read.ok && read.value.status >= 200) this.moves.get(callId)?.(read.value);
  }

  /** The session is over: nobody answers any more what is under way there. */
  over(callId: string): void {
    this.moves.get(callId)?.(OVER);
    for (const [branch, { request, done }] of this.waiting) {
      if (request.callId !== callId || request.method === "BYE") continue;
      this.waiting.delete(branch);
      done(OVER);
    }
  }

  private ask(
    leg: LegPort,
    method: string,
    body: ServiceWanted | undefined,
    fields: readonly (readonly [name: string, value: string])[] = [],
  ): Promise<Said> {
    const request = this.request(leg, method);
    for (const [name, value] of fields) request.headers.add(name, value);
    if (body) {
      request.headers.add("Content-Type", body.contentType);
      request.body = Buffer.from(body.content);
    }
    const branch = request.via!.params.get("branch")!;
    const said = new Promise<Said>((done) => this.waiting.set(branch, { request, done }));
    this.open();
    this.write(request);
    return this.inTime(said).finally(() => this.waiting.delete(branch));
  }

  private request({ dialog, session }: LegPort, method: string): SipRequest {
    const kept = this.dialogs.keep(dialog.callId, this.dialogs.get(dialog.callId)?.seen ?? seenIn(session));
    kept.seq = Math.max(kept.seq, dialog.remoteSeq, 0) + 1;
    const headers = new Headers()
      .add("Via", this.via())
      .add("Max-Forwards", "70")
      .add("From", dialog.remote)
      .add("To", dialog.local)
      .add("Call-ID", dialog.callId)
      .add("CSeq", `${kept.seq} ${method}`);
    if (method !== "BYE") headers.add("Contact", `<${dialog.remoteTarget}>`);
    return new SipRequest(method, dialog.contact.replace(/^<|>$/g, ""), headers);
  }

  private acknowledge({ uri, headers, cseq }: SipRequest): void {
    const copied = new Headers(headers.fields.filter(({ key }) => COPIED.has(key)));
    copied.prepend("Via", this.via()).add("CSeq", `${cseq?.number ?? 0} ACK`);
    this.write(new SipRequest("ACK", uri, copied));
  }

  private via(): string {
    const { address } = this.place;
    return `SIP/2.0/${KINDS.http.via} ${hostPort(address, KINDS.http.port)};branch=z9hG4bK${this.core.random.token()}`;
  }

  private get place() {
    const uri = sipUriOf(this.server()?.uri ?? "");
    return { transport: "http", address: uri?.host.replace(/^\[|\]$/g, "") ?? "", port: KINDS.http.port } as const;
  }

  /** Makes sure that there is a wire: after a restart the relay may not have opened one yet. */
  private open(): void {
    this.core.transport.flowFor?.(this.place);
  }

  private inTime(said: Promise<Said>): Promise<Said> {
    const { clock } = this.core;
    return new Promise((resolve) => {
      const timer = clock.setTimeout(() => resolve(NO_ANSWER), MOST_MS);
      void said.then((it) => {
        clock.clearTimeout(timer);
        resolve(it);
      });
    });
  }
}

const COPIED: ReadonlySet<string> = new Set(["max-forwards", "from", "to", "call-id"]);

const seenIn = (session: SessionPort) => ({ session: session.id });
