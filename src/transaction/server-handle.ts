import type { SipRequest, SipResponse } from "../sip/message.ts";
import { serialize } from "../sip/serialize.ts";
import { detach } from "../sip/text.ts";
import type { Random } from "../support/random.ts";
import type { Flow } from "../transport/types.ts";
import type { InviteServer } from "./invite-server.ts";
import type { NonInviteServer } from "./non-invite-server.ts";
import { fillResponse, trying } from "./responses.ts";
import type { ServerTransaction } from "./types.ts";

/**
 * What the TU holds of a server transaction: the request, and the way to answer it. The machine itself stays small and outlives this,
 * because it only keeps what it needs to absorb what comes again.
 */
export class ServerHandle implements ServerTransaction {
  readonly request: SipRequest;
  readonly machine: InviteServer | NonInviteServer;
  answered = false;
  onCancel?: (cancel: SipRequest) => void;
  onAck?: (ack: SipRequest | undefined) => void;
  onFlowFailed?: (reason: string) => void;
  private readonly random: Random;

  constructor(request: SipRequest, machine: InviteServer | NonInviteServer, random: Random) {
    this.request = request;
    this.machine = machine;
    this.random = random;
  }

  get flow(): Flow {
    return this.machine.flow;
  }

  respond(response: SipResponse): void {
    const { machine } = this;
    const { status } = response;
    if (status >= 200) this.answered = true;
    if (!machine.takes(status)) return;
    const tag = fillResponse(response, this.request, machine.localTag, this.random);
    if (tag !== undefined && tag !== machine.localTag) machine.localTag = detach(tag);
    machine.respond(status, serialize(response));
  }

  /** The layer's own 100, when the TU takes its time (RFC 3261 §17.2.1, RFC 4320 §4.1). */
  trying(): void {
    if (!this.answered) this.respond(trying(this.request));
  }
}
