import { Headers, type SipMessage, SipRequest, SipResponse } from "../../src/sip/message.ts";
import { parseMessage } from "../../src/sip/parse.ts";
import { serialize } from "../../src/sip/serialize.ts";
import type { Random } from "../../src/support/random.ts";
import { createTransactionLayer, type TransactionLayerOptions } from "../../src/transaction/layer.ts";
import type { ClientTransactionUser, ServerTransaction, TransactionUser } from "../../src/transaction/types.ts";
import type { Destination, Flow, TransportLayer, TransportName } from "../../src/transport/types.ts";
import { TestClock } from "../support/test-clock.ts";

/** Tokens that can be foretold. */
export function countingRandom(): Random {
  let count = 0;
  return { token: () => `r${++count}` };
}

export interface Sent {
  /** Milliseconds since the start of the test. */
  readonly atMs: number;
  readonly message: SipMessage;
}

/** A flow that writes down what is sent and when. */
export class FakeFlow implements Flow {
  readonly id: string;
  readonly transport: TransportName;
  readonly secure = false;
  readonly remoteAddress: string;
  readonly remotePort = 5060;
  open = true;
  connectFailed = false;
  readonly sent: Sent[] = [];
  private readonly clock: TestClock;
  private readonly start: number;

  /** `socket`: by which of our sockets, where there is more than one. */
  constructor(clock: TestClock, transport: TransportName, { socket = "", remoteAddress = "192.0.2.1" } = {}) {
    this.remoteAddress = remoteAddress;
    this.clock = clock;
    this.start = clock.monotonic();
    this.transport = transport;
    this.id = `${transport}/${remoteAddress}:5060${socket}`;
  }

  get reliable(): boolean {
    return this.transport !== "udp";
  }

  send(bytes: Buffer): void {
    const parsed = parseMessage(bytes, "datagram");
    if (!parsed.ok) throw new Error(`sent what cannot be read: ${bytes.toString()}`);
    this.sent.push({ atMs: this.clock.monotonic() - this.start, message: parsed.value });
  }

  /** `["INVITE 0", "INVITE 500"]`: method or status, and when. */
  get story(): string[] {
    return this.sent.map(({ atMs, message }) => `${nameOf(message)} ${atMs}`);
  }

  get last(): SipMessage {
    const last = this.sent.at(-1);
    if (!last) throw new Error("nothing was sent");
    return last.message;
  }

  /** Everything sent so far is forgotten. */
  clear(): void {
    this.sent.length = 0;
  }
}

export function nameOf(message: SipMessage): string {
  return message.isRequest ? message.method : `${message.status}/${message.cseq?.method}`;
}

/** What the layer told its user, in words. */
export class Listener implements TransactionUser {
  readonly transactions: ServerTransaction[] = [];
  readonly story: string[] = [];
  onRequest: ((transaction: ServerTransaction) => void) | undefined;

  request(transaction: ServerTransaction): void {
    this.transactions.push(transaction);
    this.story.push(transaction.request.method);
    this.onRequest?.(transaction);
  }

  ack(ack: SipRequest): void {
    this.story.push(`ack ${ack.cseq?.number}`);
  }

  unwanted(response: SipResponse, _flow: Flow, isNew: boolean): void {
    this.story.push(`unwanted ${response.status} ${response.toTag}${isNew ? " new" : ""}`);
  }

  flowFailed(flow: Flow, reason: string): void {
    this.story.push(`flowFailed ${flow.id} ${reason}`);
  }

  get last(): ServerTransaction {
    const last = this.transactions.at(-1);
    if (!last) throw new Error("no request came");
    return last;
  }
}

/** What the sender of a request was told, in words. */
export class Sender implements ClientTransactionUser {
  readonly story: string[] = [];

  provisional(response: SipResponse): void {
    this.story.push(`provisional ${response.status}`);
  }

  final(response: SipResponse): void {
    this.story.push(`final ${response.status}`);
  }

  timeout(): void {
    this.story.push("timeout");
  }

  transportError(reason: string): void {
    this.story.push(`transportError ${reason}`);
  }
}

export const DESTINATION: Destination = { transport: "udp", address: "192.0.2.1", port: 5060 };

/** A layer between a user that writes down and a transport whose every request goes by `flow`. */
export function setUp(transport: TransportName = "udp", options: Partial<TransactionLayerOptions> = {}) {
  const clock = new TestClock();
  const user = new Listener();
  const flow = new FakeFlow(clock, transport);
  const next = { flow };
  const fake: TransportLayer = {
    sendRequest(request, _destination, branch) {
      request.headers.prepend("Via", `SIP/2.0/${next.flow.transport.toUpperCase()} 198.51.100.1:5060;branch=${branch}`);
      request.changed();
      const bytes = serialize(request);
      next.flow.send(bytes);
      return { flow: next.flow, bytes };
    },
    contactFor: () => "198.51.100.1:5060",
    contactTowards: () => "198.51.100.1:5060",
  };
  const layer = createTransactionLayer({ transport: fake, user, clock, random: countingRandom(), ...options });
  return {
    clock,
    user,
    flow,
    layer,
    /** Requests go by that flow from now on. */
    useFlow(other: FakeFlow) {
      next.flow = other;
    },
    receive(message: SipMessage, by: FakeFlow = flow) {
      // A message of the wire is a new object each time.
      const parsed = parseMessage(serialize(message), "datagram");
      if (!parsed.ok) throw new Error("the test's own message cannot be read");
      layer.received(parsed.value, by);
    },
  };
}

interface Parts {
  readonly branch?: string | undefined;
  readonly cseq?: number;
  readonly toTag?: string | undefined;
  readonly fromTag?: string;
  readonly callId?: string;
  readonly sentBy?: string;
  readonly uri?: string;
}

/** A request as a client sends it. */
export function requestFrom(method: string, parts: Parts = {}, more: readonly [string, string][] = []): SipRequest {
  const { branch = "z9hG4bKabc", cseq = 1, toTag, fromTag = "f1", callId = "c1", sentBy = "192.0.2.1:5060" } = parts;
  const headers = new Headers()
    .add("Via", `SIP/2.0/UDP ${sentBy}${branch === "" ? "" : `;branch=${branch}`}`)
    .add("Max-Forwards", "70")
    .add("From", `<sip:alice@example.com>;tag=${fromTag}`)
    .add("To", `<sip:bob@example.com>${toTag === undefined ? "" : `;tag=${toTag}`}`)
    .add("Call-ID", callId)
    .add("CSeq", `${cseq} ${method}`);
  for (const [name, value] of more) headers.add(name, value);
  return new SipRequest(method, parts.uri ?? "sip:bob@example.com", headers);
}

/** A request that the TU hands down: without Via. */
export function requestToSend(method: string, more: readonly [string, string][] = []): SipRequest {
  const request = requestFrom(method, {}, more);
  request.headers.remove("via");
  request.changed();
  return request;
}

/** A response to a request that was sent. */
export function answerTo(request: SipMessage, status: number, toTag = "t1"): SipResponse {
  const headers = new Headers();
  for (const key of ["via", "from", "to", "call-id", "cseq"])
    for (const value of request.headers.all(key))
      headers.add(key, key === "to" && toTag ? withoutTag(value, toTag) : value);
  return new SipResponse(status, "Whatever", headers);
}

function withoutTag(to: string, tag: string): string {
  return `${to.split(";tag=")[0]};tag=${tag}`;
}
