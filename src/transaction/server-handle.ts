import type { SipRequest, SipResponse } from "../sip/message.ts";
import { serialize } from "../sip/serialize.ts";
import { detach } from "../sip/text.ts";
import type { Random } from "../support/random.ts";
import type { Flow } from "../transport/types.ts";
import type { InviteServer } from "./invite-server.ts";
import type { NonInviteServer } from "./non-invite-server.ts";
import { fillResponse, trying } from "./responses.ts";
import type { NewRequest, Witness } from "./types.ts";

export type ServerMachine = InviteServer | NonInviteServer;

/** What a handle needs of the layer. */
export interface HandleOwner {
  readonly random: Random;
  /** Makes the transaction of a request, and gives the handle its machine. */
  establish(handle: ServerHandle, repeats?: number): void;
  /** Answers a request for which no transaction is made. */
  sendStatelessly(response: SipResponse, request: SipRequest, flow: Flow): void;
}

/**
 * What the TU holds of a request: the request itself, and the way to answer it. The machine outlives this handle. It
 * stays small, since it keeps only what it needs to absorb repeated requests.
 */
export class ServerHandle implements NewRequest {
  readonly request: SipRequest;
  readonly flow: Flow;
  /** The key by which the transaction is found. */
  readonly key: string;
  /** By what other copies of the request are found; undefined for a request within a dialog, and for CANCEL. */
  readonly mergeKey: string | undefined;
  /** Set once there is a transaction. */
  machine: ServerMachine | undefined;
  answered = false;
  witness: Witness | undefined;
  onTrying?: () => void;
  onCancel?: (cancel: SipRequest) => void;
  onAck?: (ack: SipRequest | undefined) => void;
  onFlowFailed?: (reason: string) => void;
  private readonly owner: HandleOwner;

  constructor(owner: HandleOwner, request: SipRequest, flow: Flow, key: string, mergeKey?: string) {
    this.owner = owner;
    this.request = request;
    this.flow = flow;
    this.key = key;
    this.mergeKey = mergeKey;
    this.machine = undefined;
    this.witness = undefined;
  }

  get told(): boolean {
    return this.machine?.told ?? false;
  }

  begin(repeats?: number): void {
    if (this.machine === undefined && !this.answered) this.owner.establish(this, repeats);
  }

  ignore(): void {
    if (this.machine === undefined) this.answered = true;
  }

  respond(response: SipResponse): void {
    const { status } = response;
    if (this.machine === undefined) {
      if (this.answered) return;
      // A 2xx to an INVITE makes a dialog: its client must not get a second one for the same INVITE.
      if (status >= 300 || (status >= 200 && this.request.method !== "INVITE")) {
        this.answered = true;
        this.witness?.responded(response);
        this.owner.sendStatelessly(response, this.request, this.flow);
        return;
      }
      this.begin();
    }
    const machine = this.machine!;
    if (status >= 200) this.answered = true;
    if (!machine.takes(status)) return;
    this.witness?.responded(response);
    const tag = fillResponse(response, this.request, machine.localTag, this.owner.random);
    if (tag !== undefined && tag !== machine.localTag) machine.localTag = detach(tag);
    machine.respond(status, serialize(response));
  }

  /** The layer's own 100, when the TU takes its time (RFC 3261 §17.2.1, RFC 4320 §4.1). */
  trying(): void {
    if (this.answered) return;
    this.respond(trying(this.request));
    this.onTrying?.();
  }
}
