import type { SipRequest } from "../sip/message.ts";
import type { Flow } from "../transport/types.ts";
import { InviteClient } from "./invite-client.ts";
import type { NonInviteClient } from "./non-invite-client.ts";
import type { ClientTransaction } from "./types.ts";

/** What the TU holds of a client transaction. The machine lets go of the request when it no longer needs it; the TU may still. */
export class ClientHandle implements ClientTransaction {
  readonly request: SipRequest;
  private readonly machine: InviteClient | NonInviteClient;

  constructor(request: SipRequest, machine: InviteClient | NonInviteClient) {
    this.request = request;
    this.machine = machine;
  }

  get branch(): string {
    return this.machine.branch;
  }

  get flow(): Flow {
    return this.machine.flow;
  }

  cancel(headers?: readonly [name: string, value: string][]): void {
    // RFC 3261 §9.1: requests other than INVITE are not cancelled.
    if (this.machine instanceof InviteClient) this.machine.cancel(headers);
  }

  abandon(): void {
    this.machine.abandon();
  }
}
