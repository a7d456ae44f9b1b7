import {
  Dialog,
  type IncomingRequest,
  type IncomingRequestMessage,
  NonInviteServerTransaction,
  ReInviteUserAgentServer,
  type ResponseOptions,
  type SessionDelegate,
  TransactionState,
  type UserAgentCore,
  UserAgentServer,
} from "sip.js/lib/core/index.js";

export type IncomingUpdate = IncomingRequest & { accept(options?: ResponseOptions): unknown };

/**
 * SIP.js has no UPDATE, and does not tell of a CANCEL for a re-INVITE. Both are added here, on its transactions and
 * dialogs.
 */
export interface SessionDelegateWithUpdate extends SessionDelegate {
  onUpdate?(request: IncomingUpdate): void;
}

/** Gives an UPDATE (RFC 3311) to the delegate of its dialog. */
export function receiveUpdate(core: UserAgentCore, message: IncomingRequestMessage): void {
  const known = core.userAgentServers.get(message.viaBranch);
  if (known) {
    known.transaction.receiveRequest(message); // RFC 3261 §17.2.2: a retransmission
    return;
  }
  const dialog = core.dialogs.get(message.callId + message.toTag + message.fromTag);
  if (!dialog) return void core.replyStateless(message, { statusCode: 481 });
  // RFC 3261 §12.2.2: out of order
  if (dialog.remoteSequenceNumber !== undefined && message.cseq <= dialog.remoteSequenceNumber)
    return void core.replyStateless(message, { statusCode: 500 });
  Dialog.prototype.receiveRequest.call(dialog, message); // notes its CSeq number
  const request = new UserAgentServer(NonInviteServerTransaction, core, message);
  const { delegate } = dialog as Dialog & { readonly delegate?: SessionDelegateWithUpdate };
  if (delegate?.onUpdate) delegate.onUpdate(request as IncomingUpdate);
  else request.reject({ statusCode: 488 });
}

/** Call after SIP.js has answered a CANCEL. */
export function tellOfCancel(core: UserAgentCore, message: IncomingRequestMessage): void {
  const cancelled = core.userAgentServers.get(message.viaBranch);
  if (cancelled instanceof ReInviteUserAgentServer && cancelled.transaction.state === TransactionState.Proceeding)
    cancelled.receiveCancel(message);
}
