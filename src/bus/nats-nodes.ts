import { headers, type Msg, type NatsConnection, RequestError, type Subscription } from "@nats-io/transport-node";
import type { Logger } from "../support/log.ts";
import type { PeerLog } from "../support/peer-log.ts";
import { type EventSeal, SIGNATURE } from "./event-seal.ts";
import { isInbox } from "./reply-subject.ts";

/** How many questions are in work at once. A question beyond that gets no answer; the other node asks again. */
const MAX_UNDER_WAY = 256;
/** The largest question that is answered. The longest real one has a body of charges in it. */
const MAX_BYTES = 2 ** 18;
/** The largest text that a node may tell. It may hold the copies of many sessions. */
const MAX_TOLD_BYTES = 2 ** 20;

/**
 * Answers the questions of other nodes on a subject, until the subscription ends. A request whose reply subject is no
 * inbox gets no answer.
 */
export function listenTo(
  nc: NatsConnection,
  subject: string,
  reply: (question: string) => Promise<string | undefined>,
  { log, peerLog }: Logs,
): Subscription {
  let underWay = 0;
  return nc.subscribe(subject, {
    callback: (error, message) => {
      if (error) {
        log.error({ err: error, subject }, "bus: other relays cannot ask this one");
        return;
      }
      const why = whyNotAnswered(message, underWay);
      if (why !== undefined) {
        peerLog.warn("bus: a question that is not answered", "", { subject, why });
        return;
      }
      underWay++;
      void reply(message.string())
        .then((answer) => {
          if (answer !== undefined) message.respond(answer);
        })
        .catch((err: unknown) => log.warn({ err, subject }, "bus: what another relay asked was not answered"))
        .finally(() => {
          underWay--;
        });
    },
  });
}

interface Logs {
  readonly log: Logger;
  readonly peerLog: PeerLog;
}

function whyNotAnswered(message: Msg, underWay: number): string | undefined {
  if (!isInbox(message.reply)) return "its reply subject is no inbox";
  if (message.data.length > MAX_BYTES) return `it is longer than ${MAX_BYTES} bytes`;
  return underWay >= MAX_UNDER_WAY ? `${underWay} others are in work` : undefined;
}

/** Asks the node that listens on a subject. Undefined: nobody listens there. Rejects if no answer comes in time. */
export async function ask(
  nc: NatsConnection,
  subject: string,
  question: string,
  withinMs: number,
): Promise<string | undefined> {
  try {
    return (await nc.request(subject, question, { timeout: withinMs })).string();
  } catch (error) {
    if (error instanceof RequestError && error.isNoResponders()) return undefined;
    throw error;
  }
}

/** Sends a text to all nodes that hear the topic; signed, if there is a seal. */
export function tell(
  nc: NatsConnection,
  nodes: string,
  { topic, text }: { readonly topic: string; readonly text: string },
  seal: EventSeal | undefined,
): void {
  if (!seal) {
    nc.publish(nodes + topic, text);
    return;
  }
  const signed = headers();
  signed.set(SIGNATURE, seal.signTold(topic, text));
  nc.publish(nodes + topic, text, { headers: signed });
}

/**
 * Calls `heard` with each text that a node tells on the topic, until the subscription ends. A text that is too long, or
 * that no node of the cluster has signed, is dropped.
 */
export function hear(
  nc: NatsConnection,
  nodes: string,
  { topic, heard }: { readonly topic: string; readonly heard: (text: string) => void },
  { seal, log, peerLog }: Logs & { readonly seal: EventSeal | undefined },
): Subscription {
  return nc.subscribe(nodes + topic, {
    callback: (error, message) => {
      if (error) {
        log.error({ err: error, subject: nodes + topic }, "bus: other nodes cannot be heard");
        return;
      }
      const tooLong = message.data.length > MAX_TOLD_BYTES ? `it is longer than ${MAX_TOLD_BYTES} bytes` : undefined;
      const why = tooLong ?? seal?.toldProblem(topic, message.data, message.headers?.get(SIGNATURE));
      if (why !== undefined) {
        peerLog.warn("bus: what was told is not heard", "", { subject: message.subject, why });
        return;
      }
      heard(message.string());
    },
  });
}
