import type { Side } from "../../../machines/events.ts";
import type { SipRequest, SipResponse } from "../../sip/message.ts";
import { InTurn } from "../../support/in-turn.ts";
import type { ClientTransactionUser } from "../../transaction/types.ts";
import { withoutBody } from "../dialog/passing.ts";
import type { SessionPort } from "../model/core.ts";
import type { MediaPort, MediaUser, WithoutMedia } from "../model/ports.ts";

/** The most answers that wait for rtpengine. */
const MAX_WAITING = 100;

/**
 * Hears the answers to a request in the place of its user, who gets them in their order when rtpengine has changed
 * their descriptions.
 */
export class MediaGate implements ClientTransactionUser {
  private readonly session: SessionPort;
  private readonly media: MediaPort;
  private readonly from: Side;
  private readonly user: MediaUser;
  private readonly answers = new InTurn(MAX_WAITING);
  /** Whether the request, or an answer before, has brought the offer. */
  private readonly isOffered: boolean;
  /** The description that came last, and what has become of it: 183 and 200 bring the same. */
  private last: { readonly came: Buffer; readonly body: Buffer } | undefined;

  /** `from`: which end answers. */
  constructor(session: SessionPort, media: MediaPort, from: Side, request: SipRequest, user: MediaUser) {
    this.session = session;
    this.media = media;
    this.from = from;
    this.user = user;
    this.isOffered = media.hasMedia(request);
  }

  provisional(response: SipResponse): void {
    if (!this.user.provisional) return;
    this.answers.run((over) =>
      this.through(response, (failed) => {
        if (failed) {
          withoutBody(response); // the description may still come with the 2xx
          response.body = Buffer.alloc(0);
        }
        this.user.provisional?.(response);
        over();
      }),
    );
  }

  final(response: SipResponse): void {
    this.answers.run((over) => {
      if (response.status >= 300) {
        this.user.final(response);
        over();
        return;
      }
      this.through(response, (failed) => {
        if (failed) this.withoutMedia(response, failed);
        else this.user.final(response);
        over();
      });
    });
  }

  timeout(): void {
    this.answers.run((over) => {
      this.user.timeout();
      over();
    });
  }

  transportError(reason: string): void {
    this.answers.run((over) => {
      this.user.transportError(reason);
      over();
    });
  }

  private withoutMedia(response: SipResponse, failed: WithoutMedia): void {
    if (this.user.withoutMedia) {
      this.user.withoutMedia(response, failed);
      return;
    }
    this.user.final(response);
    this.session.end({ code: "no-media", detail: failed.why });
  }

  private through(response: SipResponse, done: Parameters<MediaPort["response"]>[3]): void {
    const came = response.body;
    if (this.last?.came.equals(came)) {
      response.body = this.last.body;
      done(undefined);
      return;
    }
    this.media.response(this.from, response, this.isOffered, (failed) => {
      if (!failed && response.body !== came) this.last = { came, body: response.body };
      done(failed);
    });
  }
}

/** Who hears the answers of that end: the user itself, where no description is to be changed. */
export const hearing = (
  session: SessionPort,
  from: Side,
  request: SipRequest,
  user: MediaUser,
): ClientTransactionUser => (session.media ? new MediaGate(session, session.media, from, request, user) : user);
