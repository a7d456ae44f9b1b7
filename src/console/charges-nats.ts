import { connect, headers, type Msg, type NatsConnection } from "@nats-io/transport-node";
import { connectionOptions, serversOf } from "../bus/nats-options.ts";
import { isInbox } from "../bus/reply-subject.ts";
import type { NatsSettings } from "../bus/settings.ts";
import { MAX_CHARGE_BODY_BYTES } from "../charging/charges/body.ts";
import type { Clock, TimerHandle } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import { PeerLog } from "../support/peer-log.ts";
import type { ChargeDesk } from "./charge-desk.ts";
import { type Answer, problem } from "./problem.ts";

/** The NATS queue group: one of the relays in it answers each request. */
const QUEUE = "tollgate";

/** Requests that are handled at once. Further ones get a temporary answer. */
const MAX_UNDER_WAY = 256;
const CONNECT_AGAIN_MS = 500;

/** The subject on which app servers report charges: `tollgate.charges`. */
export const chargesSubject = ({ prefix }: Pick<NatsSettings, "prefix">): string => `${prefix}.charges`;

const TELL_EVERY_MS = 60_000;

export interface ChargesResponder {
  /** Answers the requests under way, and takes no more. */
  close(): Promise<void>;
}

export interface ChargesOnNatsOptions {
  readonly settings: NatsSettings;
  readonly desk: ChargeDesk;
  readonly clock: Clock;
  readonly log: Logger;
  /** The environment, where secrets may be; default: that of the process. */
  readonly env?: NodeJS.ProcessEnv;
}

/**
 * Takes reports of charges as NATS requests (M17): the body is that of `POST /v1/charges`, and so are the headers
 * `Authorization` and `Idempotency-Key`. The reply is the answer of that API. If it is a problem,
 * `Nats-Service-Error-Code` has its status, as for any NATS service. A request whose reply subject is no inbox gets no
 * answer. This has a NATS connection of its own, and tries again when the server cannot be reached. Resolves after the
 * first try.
 */
export async function serveChargesOnNats(options: ChargesOnNatsOptions): Promise<ChargesResponder> {
  const responder = new Responder(options);
  await responder.connect();
  return responder;
}

class Responder implements ChargesResponder {
  private readonly options: ChargesOnNatsOptions;
  private readonly peerLog: PeerLog;
  private connection: NatsConnection | undefined;
  private connecting: Promise<void> = Promise.resolve();
  private timer: TimerHandle;
  private underWay = 0;
  private closed = false;
  private told = "";
  private repliesRefused = 0;
  private tellReplyAt = Number.NEGATIVE_INFINITY;

  constructor(options: ChargesOnNatsOptions) {
    this.options = options;
    this.peerLog = new PeerLog(options);
  }

  connect(): Promise<void> {
    this.connecting = this.tryOnce().catch((error: Error) => {
      const { settings, log, clock } = this.options;
      if (error.message !== this.told)
        log.warn({ err: error, servers: serversOf(settings) }, "charges by NATS: no connection; it is tried again");
      this.told = error.message;
      if (!this.closed) this.timer = clock.setTimeout(() => void this.connect(), CONNECT_AGAIN_MS);
    });
    return this.connecting;
  }

  private async tryOnce(): Promise<void> {
    const { settings, log, env = process.env } = this.options;
    const nc = await connect(connectionOptions(settings, env));
    this.connection = nc;
    this.told = "";
    const subject = chargesSubject(settings);
    nc.subscribe(subject, {
      queue: QUEUE,
      callback: (error, message) => {
        if (error) log.error({ err: error, subject }, "charges by NATS: the subject cannot be read");
        else this.received(message);
      },
    });
    await nc.flush().catch(async (error) => {
      await nc.close();
      throw error;
    });
    void nc.closed().then(() => {
      if (!this.closed) void this.connect();
    });
    log.info({ subject, queue: QUEUE, server: nc.getServer() }, "charges by NATS: listening");
  }

  private received(message: Msg): void {
    // Nobody can be answered, so nothing may be charged.
    if (!isInbox(message.reply)) {
      if (message.reply) this.refusedReply();
      return;
    }
    if (this.underWay >= MAX_UNDER_WAY) {
      this.reply(message, problem("too-many", undefined, { headers: { "Retry-After": "1" } }));
      return;
    }
    this.underWay++;
    const text = (name: string) => message.headers?.get(name) || undefined;
    void this.options.desk
      .answer({
        authorization: text("Authorization"),
        idempotencyKey: text("Idempotency-Key"),
        source: sourceOf(message.reply),
        by: "nats",
        body: async () => (message.data.length > MAX_CHARGE_BODY_BYTES ? undefined : Buffer.from(message.data)),
      })
      .catch((error) => {
        this.peerLog.error("charges by NATS: a request failed by a fault of the relay", "", { err: error });
        return problem("fault");
      })
      .then((answer) => {
        this.underWay--;
        this.reply(message, answer);
      });
  }

  /** In the log once a minute, however many come. */
  private refusedReply(): void {
    const { clock, log } = this.options;
    const now = clock.monotonic();
    this.repliesRefused++;
    if (now < this.tellReplyAt) return;
    this.tellReplyAt = now + TELL_EVERY_MS;
    log.warn(
      { requests: this.repliesRefused },
      "charges by NATS: not answered, since the subject to answer on is no inbox",
    );
  }

  private reply(message: Msg, { status, contentType, headers: fields, body }: Answer): void {
    const reply = headers();
    for (const [name, value] of Object.entries({ "Content-Type": contentType, ...fields })) reply.set(name, value);
    if (status >= 300) {
      reply.set("Nats-Service-Error-Code", String(status));
      reply.set("Nats-Service-Error", (body as { title: string }).title);
    }
    try {
      message.respond(JSON.stringify(body), { headers: reply });
    } catch (error) {
      // The connection is gone. The app server will ask again, and the charge counts once.
      this.peerLog.warn("charges by NATS: an answer could not be sent", "", { err: error });
    }
  }

  async close(): Promise<void> {
    this.closed = true;
    this.options.clock.clearTimeout(this.timer);
    await this.connecting;
    await this.connection?.drain().catch(() => this.connection?.close());
  }
}

/** What all reply subjects of one NATS connection begin with: `_INBOX.<name>`. */
const sourceOf = (reply: string): string => `nats/${reply.split(".", 2).join(".").slice(0, 100)}`;
