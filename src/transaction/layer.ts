import { hasMagicCookie } from "../sip/keys.ts";
import type { SipMessage, SipRequest, SipResponse } from "../sip/message.ts";
import type { ParseError } from "../sip/parse.ts";
import { responseTo } from "../sip/response.ts";
import { serialize } from "../sip/serialize.ts";
import type { Logger } from "../support/log.ts";
import type { PeerLog } from "../support/peer-log.ts";
import type { Random } from "../support/random.ts";
import { TimerQueues } from "../support/timer-queues.ts";
import { TokenMap } from "../support/token-map.ts";
import { WireMap } from "../support/wire-map.ts";
import type { Destination, Flow, TransportLayer, TransportUser } from "../transport/types.ts";
import { inProportion } from "./amplification.ts";
import { FlowIndex } from "./flow-index.ts";
import { InviteClient } from "./invite-client.ts";
import { InviteServer } from "./invite-server.ts";
import { type ClientContext, durationsOf, type Machine } from "./machine.ts";
import { CANCELLABLE, mergeKeyOf, serverKeyOf } from "./matching.ts";
import { NonInviteClient } from "./non-invite-client.ts";
import { NonInviteServer } from "./non-invite-server.ts";
import {
  defaultBounds,
  type TransactionBounds,
  type TransactionLayerOptions,
  type TransactionStats,
} from "./options.ts";
import { fillResponse } from "./responses.ts";
import { type HandleOwner, ServerHandle, type ServerMachine } from "./server-handle.ts";
import {
  type ClientTransaction,
  type ClientTransactionUser,
  defaultTimers,
  type Released,
  type TransactionLayer,
  type TransactionUser,
} from "./types.ts";

export * from "./options.ts";

/** The layer between the transports and the router (RFC 3261 §17). */
export interface Transactions extends TransactionLayer, TransportUser {
  readonly stats: Readonly<TransactionStats>;
  /** How many timers run now. */
  readonly timersRunning: number;
  attach(user: TransactionUser): void;
  /** Stops all timers and forgets all transactions. */
  close(): void;
}

export function createTransactionLayer(options: TransactionLayerOptions): Transactions {
  return new Layer(options);
}

type ClientMachine = InviteClient | NonInviteClient;

class Layer implements Transactions, ClientContext, HandleOwner {
  readonly timers: TimerQueues;
  readonly durations: ClientContext["durations"];
  readonly stats: TransactionStats = {
    serverTransactions: 0,
    clientTransactions: 0,
    challenged: 0,
    retransmissions: 0,
    merged: 0,
    refused: 0,
    overRate: 0,
    ignored: 0,
    stateless: 0,
    outOfProportion: 0,
    malformed: 0,
    strayResponses: 0,
    failures: 0,
  };
  private readonly transport: TransportLayer;
  readonly random: Random;
  private readonly log: Logger | undefined;
  private readonly peerLog: PeerLog | undefined;
  private readonly bounds: TransactionBounds;
  private user: TransactionUser | undefined;
  private readonly servers = new WireMap<ServerMachine>();
  /** By branch. CANCELs have a map of their own, since a CANCEL has the branch of its INVITE (RFC 3261 §17.1.3). */
  private readonly clients = new TokenMap<ClientMachine>();
  private readonly cancels = new TokenMap<NonInviteClient>();
  private readonly merging = new WireMap<ServerMachine>();
  private readonly flows = new FlowIndex();
  /** How many were told to come later: not all at the same time. */
  private refused = 0;
  /** The To tag of all answers given without a transaction (RFC 3261 §8.2.7). */
  private readonly statelessTag: string;

  constructor(options: TransactionLayerOptions) {
    this.transport = options.transport;
    this.user = options.user;
    this.random = options.random;
    this.log = options.log;
    this.peerLog = options.peerLog;
    this.bounds = { ...defaultBounds, ...options.bounds };
    this.durations = durationsOf(options.timers ?? defaultTimers, options.tryingMs);
    this.timers = new TimerQueues(options.clock, (error) => this.failed(error, "transaction timer failed"));
    this.statelessTag = options.random.token(64);
  }

  get size(): number {
    return this.servers.size + this.clients.size + this.cancels.size;
  }

  get timersRunning(): number {
    return this.timers.size;
  }

  attach(user: TransactionUser): void {
    this.user = user;
  }

  close(): void {
    this.timers.close();
    this.servers.clear();
    this.clients.clear();
    this.cancels.clear();
    this.merging.clear();
  }

  // --- from the transports ---

  /** Takes every message that came in. Only here is it decided whether a message is new. */
  received(message: SipMessage, flow: Flow): void {
    try {
      if (message.isRequest) this.receivedRequest(message, flow);
      else this.receivedResponse(message, flow);
    } catch (error) {
      this.failed(error, "message failed");
    }
  }

  malformed(error: ParseError, flow: Flow): void {
    this.stats.malformed++;
    const { request } = error;
    // RFC 3261 §18.3: a bad response is dropped. An ACK is never answered (§17).
    if (!request || request.method === "ACK") return;
    try {
      if (this.user?.ignores?.(request, flow)) this.stats.ignored++;
      else if (this.admitted(request, flow))
        this.answerStatelessly(request, flow, error.status, error.reason, "it cannot be read");
    } catch (failure) {
      this.failed(failure, "malformed request could not be answered");
    }
  }

  flowFailed(flow: Flow, reason: string): void {
    for (const machine of this.flows.take(flow)) {
      try {
        machine.flowFailed(reason);
      } catch (error) {
        this.failed(error, "flow failure failed");
      }
    }
    try {
      this.user?.flowFailed(flow, reason);
    } catch (error) {
      this.failed(error, "flow failure failed");
    }
  }

  /** RFC 3261 §21.5.4, without a transaction. What is under way goes on: only what would begin is refused. */
  refuse(request: SipRequest, flow: Flow): void {
    try {
      if (request.method === "ACK" || this.servers.has(serverKeyOf(request, request.method))) {
        this.receivedRequest(request, flow);
        return;
      }
      if (!this.admitted(request, flow)) return;
      const response = responseTo(request, 503);
      // Who speaks for many would keep all of them away for so long (RFC 7339 §5.10.2).
      if (request.headers.count("via") === 1)
        response.headers.add("Retry-After", String(1 + (this.refused++ % (2 * this.bounds.retryAfterS))));
      this.sendStatelessly(response, request, flow);
    } catch (error) {
      this.failed(error, "message failed");
    }
  }

  private receivedRequest(request: SipRequest, flow: Flow): void {
    if (request.method === "ACK") {
      this.receivedAck(request, flow);
      return;
    }
    const key = serverKeyOf(request, request.method);
    const known = this.servers.get(key);
    if (known) {
      this.stats.retransmissions++;
      known.retransmitted(flow);
    } else if (request.method === "CANCEL") this.receivedCancel(request, flow, key);
    else this.begin(request, flow, key);
  }

  private receivedResponse(response: SipResponse, flow: Flow): void {
    const cseq = response.cseq;
    const branch = response.via?.params.get("branch");
    if (!cseq || branch === undefined) {
      this.stats.strayResponses++;
      return;
    }
    const machine = cseq.method === "CANCEL" ? this.cancels.get(branch) : this.clients.get(branch);
    // RFC 3261 §8.1.3.3: a response with more than one Via was not meant for us. RFC 6026 §8.2: a response that matches
    // nothing is dropped.
    if (!machine || machine.method !== cseq.method || response.headers.count("via") > 1) {
      this.stats.strayResponses++;
      this.transport.dropped?.useless(flow, "a response that belongs to no request under way");
      if (machine) return;
      this.user?.foreign?.(response, flow);
      if (cseq.method === "INVITE" && response.status >= 200 && response.status < 300)
        this.user?.stray?.(response, flow);
    } else machine.received(response);
  }

  private receivedAck(ack: SipRequest, flow: Flow): void {
    // The ACK of an answer that was given without a transaction.
    if (ack.toTag === this.statelessTag) return;
    const machine = this.servers.get(serverKeyOf(ack, "INVITE"));
    if (machine instanceof InviteServer) {
      // RFC 3261 §17.2.3: without the cookie in its branch, an ACK must also carry the To tag of the response.
      const strange = !hasMagicCookie(ack) && ack.toTag !== machine.localTag;
      if (!strange && machine.acknowledged(ack)) return;
    }
    this.user?.ack(ack, flow);
  }

  /** RFC 3261 §9.2. */
  private receivedCancel(cancel: SipRequest, flow: Flow, key: string): void {
    const target = this.targetOf(cancel);
    if (!target) {
      const nobody = () => this.answerStatelessly(cancel, flow, 481);
      if (this.admitted(cancel, flow) && !this.user?.cancelOfNone?.(cancel, flow, nobody)) nobody();
      return;
    }
    const handle = new ServerHandle(this, cancel, flow, key);
    handle.begin();
    const machine = handle.machine!;
    // RFC 3261 §9.2: the answer to the CANCEL has the same To tag as the answers to the INVITE.
    machine.localTag = target.localTag ??= this.random.token(64);
    handle.respond(responseTo(cancel, 200));
    if (target instanceof InviteServer) target.cancelled(cancel);
  }

  private targetOf(cancel: SipRequest): ServerMachine | undefined {
    for (const method of CANCELLABLE) {
      const target = this.servers.get(serverKeyOf(cancel, method));
      if (target) return target;
    }
    return undefined;
  }

  knows(message: SipMessage): boolean {
    if (message.isRequest) {
      if (this.servers.has(serverKeyOf(message, message.method))) return true;
      return message.method === "CANCEL" && this.targetOf(message) !== undefined;
    }
    const branch = message.via?.params.get("branch") ?? "";
    return message.cseq?.method === "CANCEL" ? this.cancels.has(branch) : this.clients.has(branch);
  }

  private begin(request: SipRequest, flow: Flow, key: string): void {
    const opens = request.toTag === undefined;
    if (opens && this.user?.ignores?.(request, flow)) {
      this.stats.ignored++;
      return;
    }
    if (opens && !this.admitted(request, flow)) return;
    const limit = opens ? this.bounds.maxTransactions : this.bounds.maxTransactionsInDialogs;
    if (this.size >= limit) {
      this.stats.refused++;
      if (opens || this.admitted(request, flow))
        this.answerStatelessly(request, flow, 503, undefined, `there are ${limit} transactions`);
      return;
    }
    const challenge = opens && request.method === "INVITE" ? this.user?.challenge?.(request, flow) : undefined;
    if (challenge) {
      this.stats.challenged++;
      this.sendStatelessly(challenge, request, flow);
      return;
    }
    const mergeKey = opens ? mergeKeyOf(request) : undefined;
    if (mergeKey !== undefined && this.merging.has(mergeKey)) {
      this.stats.merged++;
      this.answerStatelessly(request, flow, 482, undefined, "it came twice, by two ways"); // RFC 3261 §8.2.2.2
      return;
    }
    const handle = new ServerHandle(this, request, flow, key, mergeKey);
    try {
      this.user?.request(handle);
      handle.begin();
    } catch (error) {
      this.failed(error, "request failed");
      if (!handle.answered) handle.respond(responseTo(request, 500));
    }
  }

  /** Whether a request that may come from anybody is handled at all. */
  private admitted(request: SipRequest, flow: Flow): boolean {
    if (this.user?.admits?.(request, flow) ?? true) return true;
    this.stats.overRate++;
    const why = "too many came from this source";
    if (flow.reliable) this.answerStatelessly(request, flow, 503, undefined, why);
    else this.user?.refused?.(request, flow, undefined, why);
    return false;
  }

  establish(handle: ServerHandle, repeats?: number): void {
    const { request, flow, key } = handle;
    const { method } = request;
    const machine =
      method === "INVITE" ? new InviteServer(this, key, flow, repeats) : new NonInviteServer(this, method, key, flow);
    handle.machine = machine;
    this.stats.serverTransactions++;
    this.servers.set(key, machine);
    if (handle.mergeKey !== undefined) this.remember(handle.mergeKey, machine);
    // A UDP flow does not end, and only an INVITE lasts long enough to need this.
    if (flow.reliable && machine instanceof InviteServer) this.flows.add(flow, machine);
    machine.start(handle);
  }

  /**
   * Remembers the request by From tag, Call-ID and CSeq as long as its transaction lives. So another copy of it is
   * found to be merged (RFC 3261 §8.2.2.2).
   */
  private remember(key: string, machine: ServerMachine): void {
    machine.mergeKey = key;
    this.merging.set(key, machine);
  }

  /** Answers without a transaction (RFC 3261 §8.2.7): the same request gets the same answer. */
  private answerStatelessly(request: SipRequest, flow: Flow, status: number, reason?: string, why = ""): void {
    const response = responseTo(request, status, reason);
    if (status === 503) response.headers.add("Retry-After", String(this.bounds.retryAfterS));
    if (why !== "") this.user?.refused?.(request, flow, response, why);
    this.sendStatelessly(response, request, flow);
  }

  sendStatelessly(response: SipResponse, request: SipRequest, flow: Flow): void {
    this.stats.stateless++;
    fillResponse(response, request, this.statelessTag, this.random);
    if (flow.reliable || (this.user?.reaches?.(request, flow) ?? true)) {
      flow.send(serialize(response));
      return;
    }
    const bytes = inProportion(response, request);
    if (bytes) flow.send(bytes);
    else this.stats.outOfProportion++;
  }

  // --- from the TU ---

  send(
    request: SipRequest,
    destination: Destination,
    user: ClientTransactionUser,
    flow?: Flow,
    repeats?: number,
    within?: Released,
  ): ClientTransaction {
    if (request.method === "ACK" || request.method === "CANCEL")
      throw new TypeError(`${request.method} has no transaction of its own: use sendAck or cancel`);
    const branch = this.newBranch();
    const sent = this.transport.sendRequest(request, destination, branch, flow);
    const machine =
      request.method === "INVITE"
        ? new InviteClient(this, request, destination, branch, sent, user, repeats, within)
        : new NonInviteClient(this, request, destination, branch, sent, user, repeats, within);
    this.stats.clientTransactions++;
    this.clients.set(branch, machine);
    this.flows.add(sent.flow, machine);
    machine.start();
    return machine;
  }

  sendAck(ack: SipRequest, destination: Destination, flow?: Flow): { flow: Flow; bytes: Buffer } {
    return this.transport.sendRequest(ack, destination, this.newBranch(), flow);
  }

  /** RFC 3261 §8.1.1.7: a branch is unique over all requests, and begins with the cookie. */
  private newBranch(): string {
    return `z9hG4bK${this.random.token(96)}`;
  }

  // --- from the machines ---

  settled(machine: Machine): void {
    this.flows.delete(machine.flow, machine);
  }

  terminated(machine: Machine): void {
    this.flows.delete(machine.flow, machine);
    if (machine instanceof InviteServer || machine instanceof NonInviteServer) {
      this.servers.delete(machine.key);
      if (machine.mergeKey !== undefined) this.merging.delete(machine.mergeKey);
    } else if (machine instanceof InviteClient) this.clients.delete(machine.branch);
    else if (machine instanceof NonInviteClient)
      (machine.method === "CANCEL" ? this.cancels : this.clients).delete(machine.branch);
  }

  resend(machine: Machine, request: SipRequest, destination: Destination, branch: string) {
    // The topmost Via names the transport that failed.
    request.headers.fields.shift();
    request.changed();
    const sent = this.transport.sendRequest(request, destination, branch);
    this.flows.add(sent.flow, machine);
    return sent;
  }

  unwanted(response: SipResponse, flow: Flow, isNew: boolean): void {
    this.user?.unwanted?.(response, flow, isNew);
  }

  sendCancel(cancel: SipRequest, branch: string, flow: Flow, repeats: number): void {
    const bytes = serialize(cancel);
    const machine = new NonInviteClient(this, cancel, undefined, branch, { flow, bytes }, undefined, repeats);
    this.stats.clientTransactions++;
    this.cancels.set(branch, machine);
    this.flows.add(flow, machine);
    machine.start();
    flow.send(bytes);
  }

  private failed(error: unknown, what: string): void {
    this.stats.failures++;
    if (this.peerLog) this.peerLog.error(what, "", { err: error });
    else this.log?.error({ err: error }, what);
  }
}
