import type { Bus } from "../bus/types.ts";
import type { OthersPort } from "../relay/model/ports.ts";
import type { SipMessage, SipRequest, SipResponse } from "../sip/message.ts";
import { responseTo } from "../sip/response.ts";
import { serialize } from "../sip/serialize.ts";
import type { Clock, TimerHandle } from "../support/clock.ts";
import type { PeerLog } from "../support/peer-log.ts";
import type { Flow, TransportUser } from "../transport/types.ts";
import type { NodeRun } from "./beat.ts";
import {
  type FlowFacts,
  HANDED_TOPIC,
  type Handed,
  handedTopic,
  readHanded,
  writeBack,
  writeHanded,
  writeShort,
} from "./handed.ts";
import { firstNumber, OwnFlows } from "./own-flows.ts";
import { remember } from "./remember.ts";
import { RemoteFlow } from "./remote-flow.ts";
import { RemoteFlows } from "./remote-flows.ts";

/**
 * A question without an answer of all nodes is put again after so long, since one of them may just have died; then
 * after twice as long, and so on, up to the second. Nodes that answer late would else be asked ever more.
 */
const AGAIN_MS = 100;
const MOST_AGAIN_MS = 1_000;
/** A request for which no node was found in that time is answered by nobody; its sender tries again, or gives up. */
const WITHIN_MS = 4_000;
/** Over a connection its sender sends it only once, so it is looked for longer; its timer F is 32 s. */
const WITHIN_BY_CONNECTION_MS = 20_000;
/**
 * For so long after a node is gone, nobody's "no" is the last word: the other nodes notice it a moment later, and only
 * then take its sessions up. Nor is it for so long after this node was started, since it does not know all others yet.
 */
const UNSETTLED_MS = 1_000;
/** How many questions wait for answers at most. */
const MAX_ASKED = 5_000;
/** How many dialogs are remembered with the node that has them. */
const MAX_HOMES = 50_000;
/** A request whose node is looked for. */
interface Asked {
  readonly number: number;
  readonly text: string;
  readonly tag: string;
  /** Which transaction it is; "": it does not say. */
  readonly key: string;
  readonly request: SipRequest;
  readonly flow: Flow;
  readonly nobody: () => void;
  readonly until: number;
  /** The nodes that have said no. */
  readonly no: Set<string>;
  againMs: number;
  timer: TimerHandle;
}

/**
 * Hands messages to the nodes that have their sessions, and takes what other nodes hand over (P3). The node to which a
 * peer came keeps the socket: what the other node answers goes out by it. Nobody here knows for sure where a session
 * is, so all nodes are asked; where a dialog was found once is where it is looked for first.
 */
export class HandOver implements OthersPort {
  private readonly self: NodeRun;
  private readonly bus: Pick<Bus, "tell" | "hear">;
  private readonly clock: Clock;
  private readonly peerLog: PeerLog;
  private readonly others: () => readonly string[];
  private readonly mutes: () => boolean;
  private readonly sendLater: (bytes: number, send: () => void) => void;
  private readonly here: {
    readonly user: TransportUser;
    knows(message: SipMessage): boolean;
    readonly busy: () => boolean;
  };
  private number: number;
  private readonly asked = new Map<number, Asked>();
  /** The transactions of these requests. */
  private readonly askedKeys = new Set<string>();
  /** By the tag in their dialog: which node has a session. */
  private readonly homes = new Map<string, string>();
  /** The flows of this node's peers, and those of other nodes' peers. */
  private readonly own: OwnFlows;
  private readonly remote: RemoteFlows;
  private deafen: (() => void)[] = [];
  /** Until when sessions of a node that is gone may be on their way to another. */
  private unsettledUntil = 0;
  /** Since the start: messages handed over; taken from others; for which nobody was found. */
  readonly stats = { handed: 0, taken: 0, unknown: 0 };

  constructor(options: {
    readonly self: NodeRun;
    readonly bus: Pick<Bus, "tell" | "hear">;
    readonly clock: Clock;
    readonly peerLog: PeerLog;
    /** The other nodes that are up. */
    readonly others: () => readonly string[];
    /** Whether nothing may be sent now. */
    readonly mutes: () => boolean;
    /** Sends it when that is over, if nobody has taken anything up. */
    readonly sendLater?: (bytes: number, send: () => void) => void;
    readonly contactFor: (flow: Flow) => string;
    readonly here: {
      /** Takes what others hand over. */
      readonly user: TransportUser;
      /** Whether a message belongs to something here. */
      knows(message: SipMessage): boolean;
      /** This node is about to take up sessions, or to give some away, and cannot tell yet. */
      readonly busy: () => boolean;
    };
  }) {
    const { self, bus, clock, peerLog, others, mutes, contactFor, here } = options;
    this.sendLater = options.sendLater ?? (() => {});
    this.self = self;
    this.number = firstNumber(self);
    this.bus = bus;
    this.clock = clock;
    this.peerLog = peerLog;
    this.others = others;
    this.mutes = mutes;
    this.here = here;
    this.own = new OwnFlows({ self, others, contactFor });
    this.remote = new RemoteFlows({
      send: (to, bytes) => this.sendBack(to, bytes),
      failed: (flow, why) => here.user.flowFailed(flow, why),
    });
  }

  start(): void {
    this.unsettledUntil = this.clock.monotonic() + UNSETTLED_MS;
    for (const topic of [HANDED_TOPIC, handedTopic(this.self.node)]) {
      const end = this.bus.hear?.(topic, (text) => this.heard(text));
      if (end) this.deafen.push(end);
    }
  }

  stop(): void {
    for (const end of this.deafen.splice(0)) end();
    for (const { timer } of this.asked.values()) this.clock.clearTimeout(timer);
    this.asked.clear();
    this.askedKeys.clear();
  }

  request(request: SipRequest, flow: Flow, nobody: () => void): boolean {
    if (flow instanceof RemoteFlow || this.deafen.length === 0) return false;
    if (this.others().length === 0 && !this.unsettled) return false;
    const key = keyOfRequest(request, flow);
    if (this.askedKeys.has(key)) return true; // sent again: it is being looked for (RFC 3261 §17.2.3)
    if (this.asked.size >= MAX_ASKED) return false;
    const number = ++this.number;
    const text = writeHanded({ ...this.self, number }, "ask", this.factsOf(flow), request);
    const until = this.clock.monotonic() + (flow.reliable ? WITHIN_BY_CONNECTION_MS : WITHIN_MS);
    const tag = request.toTag ?? "";
    const no = new Set<string>();
    const asked: Asked = {
      number,
      text,
      tag,
      key,
      request,
      flow,
      nobody,
      until,
      no,
      againMs: AGAIN_MS,
      timer: undefined,
    };
    this.asked.set(number, asked);
    if (key !== "") this.askedKeys.add(key);
    this.ask(asked, this.homes.get(tag));
    return true;
  }

  message(message: SipMessage, flow: Flow): void {
    if (flow instanceof RemoteFlow || this.deafen.length === 0 || this.others().length === 0) return;
    const tag = (message.isRequest ? message.toTag : message.fromTag) ?? "";
    const home = this.homes.get(tag);
    const topic = home === undefined ? HANDED_TOPIC : handedTopic(home);
    this.tell(topic, writeHanded({ ...this.self, number: 0 }, "tell", this.factsOf(flow), message));
  }

  response(response: SipResponse, flow: Flow): void {
    for (const node of this.own.usersOf(flow))
      this.tell(handedTopic(node), writeHanded({ ...this.self, number: 0 }, "tell", this.factsOf(flow), response));
  }

  /** A connection to this node is gone. */
  flowFailed(flow: Flow): void {
    const ended = this.own.ended(flow);
    if (!ended) return;
    const { number, users } = ended;
    for (const node of users) this.tell(handedTopic(node), writeShort({ ...this.self, number }, "closed"));
  }

  /** A node is gone, and so are its sockets. */
  gone(node: string): void {
    this.unsettledUntil = this.clock.monotonic() + UNSETTLED_MS;
    for (const [tag, home] of this.homes) if (home === node) this.homes.delete(tag);
    this.own.gone(node);
    this.remote.gone(node);
    // Its sessions will be elsewhere in a moment: what looks for them need not wait as long as before.
    for (const asked of this.asked.values()) {
      this.clock.clearTimeout(asked.timer);
      asked.againMs = AGAIN_MS;
      this.askLater(asked);
    }
  }

  /** Sessions have been taken up here: what has come for them goes on at once. */
  tookUp(): void {
    for (const asked of [...this.asked.values()]) {
      if (!this.here.knows(asked.request)) continue;
      this.clock.clearTimeout(asked.timer);
      this.ask(asked);
    }
  }

  /** Whether a session may be on its way from one node to another, or at a node that this one has not heard yet. */
  private get unsettled(): boolean {
    return this.here.busy() || this.clock.monotonic() < this.unsettledUntil;
  }

  private ask(asked: Asked, home?: string): void {
    const { number, text, tag, request, flow, nobody, until, no } = asked;
    if (!this.asked.has(number)) return;
    if (this.here.knows(request)) {
      // It has been taken up here since.
      this.forget(asked);
      this.here.user.received(request, flow);
      return;
    }
    const isUnknown = home === undefined && this.others().every((node) => no.has(node));
    if (isUnknown && !this.unsettled) {
      this.forget(asked);
      this.stats.unknown++;
      nobody();
      return;
    }
    if (this.clock.monotonic() >= until) {
      this.forget(asked);
      this.peerLog.warn("cluster: a request whose session cannot be found: not all nodes answer", "", { tag });
      // Over UDP its sender sends it again, and then there may be an answer. Over a connection it does not (RFC 3261
      // §17.1.2.2).
      if (flow.reliable && !this.mutes()) flow.send(serialize(busyResponse(request)));
      return;
    }
    if (isUnknown)
      asked.againMs = AGAIN_MS; // all have answered in time
    else this.tell(home === undefined ? HANDED_TOPIC : handedTopic(home), text);
    this.askLater(asked);
  }

  private askLater(asked: Asked): void {
    asked.timer = this.clock.setTimeout(() => {
      asked.no.clear();
      this.ask(asked);
    }, asked.againMs);
    asked.againMs = Math.min(MOST_AGAIN_MS, 2 * asked.againMs);
  }

  private forget({ number, key }: Asked): void {
    this.asked.delete(number);
    this.askedKeys.delete(key);
  }

  private heard(text: string): void {
    const read = readHanded(text);
    if (!read.ok) {
      this.peerLog.warn("cluster: what another node handed over cannot be read", "", { why: read.error });
      return;
    }
    const handed = read.value;
    if (handed.node === this.self.node) return;
    if (handed.kind === "ask" || handed.kind === "tell") this.take(handed);
    else if (handed.kind === "back") this.back(handed.number, handed.bytes);
    else if (handed.kind === "closed") this.remote.closed(handed, handed.number);
    else this.answered(handed.node, handed.number, handed.kind === "yes");
  }

  private take(handed: Extract<Handed, { kind: "ask" | "tell" }>): void {
    if (this.mutes()) return; // it is asked again
    const { node, epoch, number, kind, message, flow } = handed;
    const knows = this.here.knows(message);
    if (!knows && this.here.busy()) return; // the same: it may belong to something here in a moment, or elsewhere
    if (kind === "ask") this.tell(handedTopic(node), writeShort({ ...this.self, number }, knows ? "yes" : "no"));
    if (!knows) return;
    this.stats.taken++;
    this.here.user.received(message, this.flowOf({ node, epoch }, flow));
  }

  private answered(node: string, number: number, knows: boolean): void {
    const asked = this.asked.get(number);
    if (!asked) return;
    const { tag, flow, no, timer } = asked;
    if (knows) {
      this.clock.clearTimeout(timer);
      this.forget(asked);
      this.stats.handed++;
      if (tag !== "") remember(this.homes, tag, node, MAX_HOMES);
      if (flow.reliable) this.own.usedBy(flow, node);
      return;
    }
    const wasHome = this.homes.get(tag) === node;
    if (wasHome) this.homes.delete(tag);
    no.add(node);
    if (!wasHome && !this.others().every((other) => no.has(other))) return;
    this.clock.clearTimeout(timer);
    this.ask(asked);
  }

  /** Sends what another node has for one of our flows. */
  private back(number: number, bytes: Buffer): void {
    this.own.of(number)?.send(bytes); // the transport knows whether it may be sent now
  }

  /** Has another node send that by one of its flows. */
  private sendBack(to: RemoteFlow, bytes: Buffer): void {
    const send = () => {
      if (to.open) this.tell(handedTopic(to.by.node), writeBack({ ...this.self, number: to.number }, bytes));
    };
    if (!this.mutes()) send();
    else if (to.reliable) this.sendLater(bytes.length, send);
  }

  /** The way to a peer whose socket another node has. */
  flowOf(by: NodeRun, facts: FlowFacts): RemoteFlow {
    return this.remote.flowOf(by, facts);
  }

  /** A flow as other nodes know it. `isGiven`: other nodes use it from now on. */
  factsOf(flow: Flow, isGiven = false): FlowFacts {
    return this.own.factsOf(flow, isGiven);
  }

  private tell(topic: string, text: string): void {
    this.bus.tell?.(topic, text);
  }
}

/** RFC 3261 §17.2.3: which server transaction a request belongs to; "": it is of RFC 2543, and none of its own. */
function keyOfRequest({ method, via }: SipRequest, flow: Flow): string {
  const branch = via?.params.get("branch") ?? "";
  if (!via || !branch.startsWith("z9hG4bK")) return "";
  return `${method} ${branch} ${via.host}:${via.port ?? ""} ${flow.transport} ${flow.remoteAddress}:${flow.remotePort}`;
}

const busyResponse = (request: SipRequest): SipResponse =>
  responseTo(request, 503, undefined, undefined, [["Retry-After", "2"]]);
