import { otherSide, type Side } from "../../../machines/events.ts";
import type { Encodable } from "../../media/bencode.ts";
import type { NgAnswer, Rtpengine, Rtpengines } from "../../media/ng.ts";
import { type Manner, mannerOf, PLAIN, sdpOf, WEB } from "../../media/sdp.ts";
import type { SipMessage } from "../../sip/message.ts";
import { InTurn } from "../../support/in-turn.ts";
import type { PeerLog } from "../../support/peer-log.ts";
import type { MediaDone, MediaPort } from "../model/ports.ts";
import type { MediaState } from "../model/session-state.ts";
import { flagsTowards, type Interfaces } from "./flags.ts";

/** What all sessions' media have in common. */
export interface MediaOptions {
  readonly engines: Rtpengines;
  readonly interfaces?: Interfaces | undefined;
  /** What becomes of a description that no rtpengine takes: the call is refused, or it passes as it is. */
  readonly whenUnavailable: "refuse" | "pass";
  readonly peerLog: PeerLog;
}

/**
 * The media of a session: each description that one end sends goes to rtpengine, and what comes back goes to the other
 * end. One after the other, in the order in which they came. The parts of a call share it, since a browser that has
 * agreed on keys with one rtpengine cannot change to another in between.
 */
export class MediaPath implements MediaPort {
  /** Names the call at rtpengine. */
  private readonly id: string;
  private readonly options: MediaOptions;
  private engine: Rtpengine | undefined;
  private readonly manners: Record<Side, Manner | undefined>;
  /** Who has sent an offer in an answer, to which ACK or PRACK brings the answer (RFC 3264, RFC 6337 §2.2). */
  private owed: Side | undefined;
  private holders = 1;
  private readonly commands = new InTurn();

  /** `from`: as in `MediaRelay`. */
  constructor(id: string, options: MediaOptions, from: "web" | "plain" | MediaState) {
    this.id = id;
    this.options = options;
    if (typeof from === "string") this.manners = { client: from === "web" ? WEB : undefined, server: undefined };
    else {
      this.manners = { client: from.client, server: from.server };
      this.owed = from.owed;
      this.engine = options.engines.named(from.engine);
    }
  }

  get state(): MediaState | undefined {
    const { id, engine, manners, owed } = this;
    if (!engine) return undefined; // nothing is at any rtpengine
    return {
      id,
      engine: engine.name,
      ...(manners.client && { client: manners.client }),
      ...(manners.server && { server: manners.server }),
      ...(owed && { owed }),
    };
  }

  share(): this {
    this.holders++;
    return this;
  }

  request(from: Side, message: SipMessage & { readonly method: string }, done: MediaDone): void {
    const isAnswer = this.owed !== undefined && this.owed !== from && /^(ACK|PRACK)$/.test(message.method);
    if (isAnswer || message.method === "ACK") this.exchange("answer", from, message, done);
    else this.exchange("offer", from, message, done);
  }

  response(from: Side, message: SipMessage, toOffer: boolean, done: MediaDone): void {
    this.exchange(toOffer ? "answer" : "offer", from, message, (failed) => {
      if (!toOffer && !failed) this.owed = from;
      done(failed);
    });
  }

  hasMedia(message: SipMessage): boolean {
    const sdp = sdpOf(message);
    return sdp !== undefined && mannerOf(sdp.bytes) !== undefined;
  }

  private exchange(kind: "offer" | "answer", from: Side, message: SipMessage, done: MediaDone): void {
    const sdp = sdpOf(message);
    const manner = sdp && mannerOf(sdp.bytes);
    if (!sdp || !manner || this.holders === 0) {
      done(undefined);
      return;
    }
    this.commands.run((over) => {
      this.manners[from] = manner;
      if (kind === "answer") this.owed = undefined;
      const settled = (answer: NgAnswer) => {
        const changed = answer.ok ? answer.fields.get("sdp") : undefined;
        if (Buffer.isBuffer(changed)) message.body = sdp.with(changed);
        over();
        if (Buffer.isBuffer(changed) || this.options.whenUnavailable === "pass") done(undefined);
        else done(answer.ok ? NO_SDP : { why: answer.why, status: answer.kind === "refused" ? 488 : 503 });
      };
      this.ask(kind, from, sdp.bytes, settled);
    });
  }

  /** An offer may go to another rtpengine than the one before: it begins anew. An answer may not. */
  private ask(kind: "offer" | "answer", from: Side, sdp: Buffer, settled: (answer: NgAnswer) => void): void {
    const { engines, interfaces, peerLog } = this.options;
    const to = otherSide(from);
    const isOffer = kind === "offer";
    const fields: Record<string, Encodable> = {
      ...{ "call-id": this.id, sdp, "from-tag": isOffer ? from : to, "to-tag": isOffer ? to : from },
      ...flagsTowards(this.manners[to] ?? PLAIN, from, interfaces),
    };
    const tried = new Set<Rtpengine>();
    const withEngine = (engine: Rtpengine | undefined) => {
      if (!engine) {
        peerLog.error("no rtpengine takes a description", this.id, { call: this.id, command: kind });
        settled(NOBODY);
        return;
      }
      tried.add(engine);
      engine.ask(kind, fields, (answer) => {
        if (answer.ok) this.engine = engine;
        else peerLog.warn("rtpengine took no description", engine.name, { rtpengine: engine.name, why: answer.why });
        const next = isOffer && !answer.ok && answer.kind === "unanswered" ? engines.choose(engine) : undefined;
        if (next && !tried.has(next)) withEngine(next);
        else settled(answer);
      });
    };
    const { engine } = this;
    withEngine(isOffer && !engine?.answers ? (engines.choose() ?? undefined) : engine);
  }

  close(): void {
    if (--this.holders > 0) return;
    // What is under way may still make a call at rtpengine.
    this.commands.run((over) => {
      this.engine?.ask("delete", { "call-id": this.id, "from-tag": "client", "delete-delay": 0 }, over);
      if (!this.engine) over();
    });
  }

  release(): void {
    this.holders = 0;
  }
}

const NOBODY: NgAnswer = { ok: false, kind: "unanswered", why: "no rtpengine answers" };
const NO_SDP = { why: "rtpengine gave no description back", status: 503 };
