import type { Failure, Side } from "../../../machines/events.ts";
import { SipRequest } from "../../sip/message.ts";
import type { ServerTransaction } from "../../transaction/types.ts";
import { reply } from "../dialog/reply.ts";
import type { LegPort, SessionPort } from "../model/core.ts";
import type { MediaPort, MediaRelay, WithoutMedia } from "../model/ports.ts";
import { recordOf } from "../model/records.ts";
import { type MediaOptions, MediaPath } from "./path.ts";

/** Where the operator has rtpengines. */
export const mediaRelay = (options: MediaOptions): MediaRelay => ({
  open: (id, from) => new MediaPath(id, options, from),
});

/** A session's media where a media relay is wanted in their path; undefined: it is not. */
function openFor({ id, core, appServer, service, request }: SessionPort): MediaPort | undefined {
  if (!core.media || (appServer.media ?? service.media) !== "rtpengine") return undefined;
  // Where an app server calls, the client is reached as it has registered.
  const transports = request?.calls?.targets.map(({ cameFrom }) => cameFrom.transport) ?? [
    request?.transaction.flow.transport,
  ];
  const isWeb = transports.some((transport) => transport === "ws" || transport === "wss");
  return core.media.open(id, isWeb ? "web" : "plain");
}

/**
 * Changes the offer in a request with which a session begins, for that session alone: `then` gets the request to send.
 * At once where no media relay is in the path. If none takes it, the branch is refused. While it is asked, the chart is
 * in `inviting`, as while a name is resolved: no end has been asked yet, and a CANCEL only keeps the request from being
 * sent.
 */
export function withMedia(
  session: SessionPort,
  from: Side,
  original: SipRequest,
  then: (original: SipRequest) => void,
): void {
  const before = session.request?.change?.first.media;
  if (before) {
    session.takesMedia(before.share());
    then(original); // it was changed when it came
    return;
  }
  const media = openFor(session);
  if (!media) {
    then(original);
    return;
  }
  session.takesMedia(media);
  const own = new SipRequest(original.method, original.uri, original.headers, original.body);
  media.request(from, own, (why) => {
    if (session.closed) return;
    if (why) refused(session, why);
    else then(own);
  });
}

function refused(session: SessionPort, { why, status }: WithoutMedia): void {
  session.branch?.because(`media: ${why}`);
  session.actor.send({ type: "server.failure", failure: failureFor(status) });
}

/** The relay's own failure: where no media relay answers, the client may come again. */
export const failureFor = (status: number): Failure =>
  status === 503 ? { status, own: true, headers: [["Retry-After", "5"]] } : { status, own: true };

/** Methods whose requests may bring a description. */
const DESCRIBES: ReadonlySet<string> = new Set(["INVITE", "UPDATE", "PRACK"]);

/**
 * Changes the description in a request within a session, and then calls `then`; at once where there is nothing to do.
 */
export function afterMedia(leg: LegPort, transaction: ServerTransaction, then: () => void): void {
  const { media } = leg.session;
  const { request } = transaction;
  if (!media || !DESCRIBES.has(request.method) || !media.hasMedia(request)) {
    then();
    return;
  }
  let cancelled = false;
  transaction.onCancel = () => {
    cancelled = true;
  };
  media.request(leg.side, request, (failed) => {
    if (transaction.answered) return;
    if (cancelled) reply(transaction, 487);
    else if (leg.closed) reply(transaction, 481);
    else if (failed) {
      recordOf(transaction)?.because(`media: ${failed.why}`);
      reply(transaction, failed.status);
    } else then();
  });
}

/** The same for an ACK: nobody can be told that it failed, so that the session ends. */
export function afterMediaOfAck(leg: LegPort, ack: SipRequest, then: () => void): void {
  const { session } = leg;
  const { media } = session;
  if (!media?.hasMedia(ack)) {
    then();
    return;
  }
  media.request(leg.side, ack, (failed) => {
    then();
    if (failed) session.end({ code: "no-media", detail: failed.why });
  });
}
