import type { IncomingInviteRequest } from "sip.js/lib/core/index.js";
import { SERVICE_HEADER } from "../charging/charges/header-names.ts";
import { type AskedChange, changeBody } from "./changes.ts";
import type { ClientSession, MoveOptions, ServerChange } from "./client-api.ts";
import { headerLine, type Link, type Standing, track, uriOf } from "./client-link.ts";
import { Dialog, referTo } from "./dialog.ts";
import { printLog } from "./print-log.ts";
import {
  type Access,
  accessOf,
  descriptionOf,
  SERVICE_TYPE,
  SESSION_DISPOSITION,
  toBody,
} from "./session-description.ts";
import { SipError } from "./sip-error.ts";
import { readTargetDialog } from "./target-dialog.ts";
import { ALLOW } from "./user-agent.ts";

export function clientSession(link: Link, dialog: Dialog, service: string, access: Access | undefined): ClientSession {
  const { ended } = dialog;
  const { callId, localTag, remoteTag } = dialog.session;
  let decide = (request: ServerChange): unknown => request.accept();
  const now = { service, answer: access };
  const session: ClientSession = {
    id: callId,
    get service() {
      return now.service;
    },
    get access() {
      return now.answer?.url;
    },
    get answer() {
      return now.answer;
    },
    ended,
    move: (to, options = {}) => move(link, dialog, standing, to, options),
    change: async (to, options = {}) => {
      const wanted = typeof to === "string" ? { service: to } : to;
      const answer = await dialog.change(options, changeBody(wanted));
      now.answer = accessOf(descriptionOf(answer));
      now.service = answer.getHeader(SERVICE_HEADER) ?? wanted.service ?? now.service;
    },
    onChange: (handler) => {
      decide = handler;
    },
    end: () => dialog.bye(),
  };
  dialog.onChange((asked) => {
    const request = serverChange(asked, () => {
      now.service = asked.service;
    });
    void (async () => decide(request))().catch((error) => {
      if (!(error instanceof SipError))
        (link.options.logger ?? printLog).error({ err: error }, "a change handler failed");
      asked.refuse(500);
    });
  });
  const standing: Standing = { session };
  const name = dialogName(callId, remoteTag, localTag);
  link.sessions.set(name, standing);
  void ended.then(() => link.sessions.delete(name));
  return session;
}

function serverChange(asked: AskedChange, stands: () => void): ServerChange {
  const { service, message, signal, refuse } = asked;
  const description = descriptionOf(message);
  // The answer repeats what was asked for, because every offer needs an answer (RFC 3264 §4).
  const { contentType, content } = description ?? { contentType: SERVICE_TYPE, content: "" };
  return {
    service,
    description,
    header: (name) => message.getHeader(name),
    signal,
    accept: () => {
      const standing = asked.accept(toBody({ contentType, content })).then(stands);
      standing.catch(() => {}); // for a handler that does not wait
      return standing;
    },
    refuse,
  };
}

/** Names a dialog by its Call-ID, the relay's tag and ours. */
const dialogName = (callId: string, theirTag: string, ourTag: string) => `${callId} ${theirTag} ${ourTag}`;

/** Asks the relay for a session with another service, and waits for the INVITE that the relay then sends. */
async function move(
  link: Link,
  dialog: Dialog,
  standing: Standing,
  service: string,
  { keep, description, contentType = SERVICE_TYPE, headers = {}, onProgress }: MoveOptions,
): Promise<ClientSession> {
  if (standing.moving) throw new SipError(491, "Request Pending", "another move is under way");
  const extraHeaders = Object.entries(headers).map(([name, value]) => headerLine(name, value));
  const body = toBody({ contentType, content: description ?? "" });
  let done!: (session: ClientSession) => void;
  const arrived = new Promise<ClientSession>((resolve) => {
    done = resolve;
  });
  standing.moving = { service, body, done };
  try {
    const options = description === undefined ? { extraHeaders } : { extraHeaders, body };
    const refused = dialog.refer(referTo(uriOf(service, link.domain), keep), options, onProgress);
    // The relay reports the success only after the INVITE. So a session that has arrived counts, even if the first one
    // ends before the report.
    return await Promise.race([arrived, refused.then(() => arrived)]);
  } finally {
    standing.moving = undefined;
  }
}

/** Takes an INVITE of the relay: one of our sessions is moved to a new one. Target-Dialog says which (RFC 4538). */
export function invited(link: Link, invite: IncomingInviteRequest): void {
  const { message } = invite;
  const target = readTargetDialog(message.getHeader("target-dialog") ?? "");
  const standing = target && link.sessions.get(dialogName(target.callId, target.localTag, target.remoteTag));
  const { onSession } = link.options;
  if (!standing || (!standing.moving && !onSession)) return void invite.reject({ statusCode: 603 });
  const { service, body, done } = standing.moving ?? {
    service: message.from.uri.user ?? "",
    body: toBody({ contentType: SERVICE_TYPE, content: "" }),
    done: (session: ClientSession) => onSession?.(session, standing.session),
  };
  // SIP.js wants a body in every 2xx that it sends, so this repeats what was asked for.
  const { session } = invite.accept({ statusCode: 200, extraHeaders: [ALLOW, SESSION_DISPOSITION], body });
  const dialog = track(link, new Dialog(session, "uas"));
  void dialog.confirmed().then((confirmed) => {
    if (confirmed) done(clientSession(link, dialog, service, accessOf(descriptionOf(message))));
  });
}
