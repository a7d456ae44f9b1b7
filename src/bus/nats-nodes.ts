import { type NatsConnection, RequestError, type Subscription } from "@nats-io/transport-node";
import type { Logger } from "../support/log.ts";
import { isInbox } from "./reply-subject.ts";

/** Questions in work at once; who asks more gets no answer, and asks again. */
const MAX_UNDER_WAY = 256;
/** The longest question has a body of charges in it. */
const MAX_BYTES = 2 ** 18;

/** Answers what other nodes ask on a subject, until it is unsubscribed; nobody else is answered, whatever they send. */
export function listenTo(
  nc: NatsConnection,
  subject: string,
  reply: (question: string) => Promise<string | undefined>,
  log: Logger,
): Subscription {
  let underWay = 0;
  return nc.subscribe(subject, {
    callback: (error, message) => {
      if (error) {
        log.error({ err: error, subject }, "bus: other relays cannot ask this one");
        return;
      }
      if (!isInbox(message.reply) || underWay >= MAX_UNDER_WAY || message.data.length > MAX_BYTES) return;
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

/** Undefined: nobody listens there. Rejects when no answer comes in time. */
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
