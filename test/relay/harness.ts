import { pino } from "pino";
import type { z } from "zod";
import type { ChargingEvent } from "../../src/charging/events/events.ts";
import type { Tariff } from "../../src/charging/money/tariff.ts";
import { type Config, configSchema } from "../../src/config/schema.ts";
import { appServerAuthenticator } from "../../src/directory/app-server-keys.ts";
import { createAuthenticator } from "../../src/directory/authenticator.ts";
import { createDirectory } from "../../src/directory/directory.ts";
import { Strangers } from "../../src/directory/strangers.ts";
import type { AppServerKey, User } from "../../src/directory/types.ts";
import { userRecord } from "../../src/directory/users.ts";
import { type CoreParts, createCore } from "../../src/node/assemble.ts";
import { SignInLog } from "../../src/node/sign-in-log.ts";
import type { Core } from "../../src/relay/model/core.ts";
import { Router } from "../../src/relay/router.ts";
import { Headers, type SipMessage, SipRequest, type SipResponse } from "../../src/sip/message.ts";
import { parseMessage } from "../../src/sip/parse.ts";
import { reasonPhrase, responseTo } from "../../src/sip/response.ts";
import { serialize } from "../../src/sip/serialize.ts";
import { sipUriOf } from "../../src/sip/uri.ts";
import type { Store } from "../../src/store/types.ts";
import { canonicalHost } from "../../src/support/address.ts";
import type { Logger } from "../../src/support/log.ts";
import { PeerLog } from "../../src/support/peer-log.ts";
import type { Random } from "../../src/support/random.ts";
import { createTransactionLayer, type Transactions } from "../../src/transaction/layer.ts";
import { KINDS, type TransportName } from "../../src/transport/kinds.ts";
import type { Destination, Flow, TransportLayer } from "../../src/transport/types.ts";
import { hostPort } from "../../src/transport/via.ts";
import { MemoryCredit } from "../charging/memory-credit.ts";
import { MemoryBilling } from "../charging/memory-store.ts";
import { undocumented } from "../support/asyncapi.ts";
import { TestClock } from "../support/test-clock.ts";

/*
 * A relay without sockets, disk or time of its own: messages go over an in-memory network as bytes, time moves when
 * told. The peers are scripted here message by message, so that every race can be played.
 */

/** What ops/asyncapi.yaml has against recorded events. */
export const misfits: string[] = [];
// In every test that uses a lab, every event of the relay is as the document says. The simulation's own command looks
// for itself.
if (process.env.VITEST) {
  const { afterEach, expect } = await import("vitest");
  afterEach(() => expect(misfits.splice(0)).toEqual([]));
}

export interface Lab {
  readonly clock: TestClock;
  readonly core: Core;
  readonly transactions: Transactions;
  /** What was put on record, in order. */
  readonly events: ChargingEvent[];
  readonly client: Peer;
  /** Prepaid balances. */
  readonly credit: MemoryCredit;
  server(id: string): Peer;
  /** Another peer, or another place of one: an address, a port, a connection of its own. */
  peer(address: string, port: number, transport?: "udp" | "tcp"): Peer;
  /** What the relay finds in the store. Nothing is billed in it: the test does that. */
  readonly billing: MemoryBilling;
  /** Lets the relay's promises run. */
  settle(): Promise<void>;
  /** Nothing may be left: no session, no transaction, no timer but the directory's. */
  leftovers(): Record<string, number>;
  /** Makes appends fail from now on, or succeed again. */
  breakRecorder(broken: boolean): void;
}

export interface LabOptions {
  readonly servers?: readonly Partial<Config["appServers"][number]>[];
  /** Services beside `service1`. */
  readonly more?: readonly Config["services"][number][];
  readonly service?: Partial<Config["services"][number]>;
  /** Beside "t", 0.10 EUR for each begun minute. */
  readonly tariffs?: readonly Config["tariffs"][number][];
  readonly session?: Partial<Config["session"]>;
  readonly clientTransport?: "udp" | "tcp";
  /** Default 192.0.2.50. */
  readonly clientAddress?: string;
  readonly limits?: Partial<Config["limits"]>;
  /** Signs what goes to app servers. */
  readonly proof?: Core["proof"];
  readonly charging?: Partial<Config["charging"]>;
  readonly keys?: readonly AppServerKey[];
  /** What an earlier relay has billed. */
  readonly billing?: MemoryBilling;
  /** Sections of the configuration in place of the ones here. */
  readonly config?: z.input<typeof configSchema>;
  /** In place of a network of scripted peers; `deliver` takes what comes for the relay. */
  readonly network?: TransportLayer & { deliver(message: SipMessage, flow: Flow): void };
  readonly clock?: TestClock;
  readonly random?: Random;
  /** Chooses among app servers of equal priority; default Math.random. */
  readonly weigh?: () => number;
  readonly log?: Logger;
  /** The real sign-in, of alice with the password "secret", instead of one that takes everybody for her. */
  readonly signIn?: boolean;
  /** Of alice, who calls: she is prepaid where this is given. */
  readonly balance?: string;
  /** Registered users, in the place of none or of the prepaid alice; read again at `directory.reload()`. */
  readonly users?: readonly User[];
  readonly credit?: Partial<Config["credit"]>;
  /** Hears of each event that was put on record, in the same moment. */
  readonly recorded?: (event: ChargingEvent) => void;
  /** Parts of the relay's core in place of the ones here. */
  readonly core?: Partial<CoreParts>;
  /** As they lie in the store, whoever put them there. */
  readonly storedTariffs?: readonly Tariff[];
  /** What time costs; default 0.10 EUR a minute; null: the service has no tariff. */
  readonly tariff?: Partial<Config["tariffs"][number]> | null;
}

const RELAY = "192.0.2.1";

export async function lab(options: LabOptions = {}): Promise<Lab> {
  const { clock = new TestClock(), random = counting(), log = pino({ level: "silent" }) } = options;
  const servers = (options.servers ?? []).map((server, i) => ({ id: "abcdef"[i]!, ...server }));
  if (servers.length === 0) servers.push({ id: "a" });
  const config = configSchema.parse({
    portal: { domain: "portal.com" },
    listen: [`udp:${RELAY}:5060`],
    services: [
      { id: "service1", ...(options.tariff !== null && { tariff: "t" }), ...options.service },
      ...(options.more ?? []),
    ],
    tariffs: [{ id: "t", currency: "EUR", price: "0.10", ...options.tariff }, ...(options.tariffs ?? [])],
    appServers: servers.map((server, i) => ({ uri: `sip:192.0.2.${100 + i}:5060`, services: ["service1"], ...server })),
    session: { probeS: 0, ...options.session },
    health: { intervalS: 0 },
    limits: options.limits ?? {},
    charging: options.charging ?? {},
    credit: options.credit ?? {},
    ...options.config,
  });
  const peerLog = new PeerLog({ log, clock });
  const signInLog = new SignInLog(peerLog);
  const strangers = new Strangers(config.strangers, clock, peerLog);
  const scripted = new Network();
  const network = options.network ?? scripted;
  const transactions = createTransactionLayer({
    transport: network,
    clock,
    random,
    log,
    timers: config.timers,
  });
  const keys = options.keys ?? [];
  const appServerKeys = { ...emptyRegistry, list: async () => [...keys] };
  const credit = new MemoryCredit();
  if (options.balance !== undefined) await credit.pay("alice", options.balance);
  const registered = options.users ?? (options.balance === undefined ? [] : [PREPAID]);
  const users = { ...emptyRegistry, list: async () => [...registered] };
  const tariffs = { ...emptyRegistry, list: async () => [...(options.storedTariffs ?? [])] };
  const directory = await createDirectory({
    config,
    store: { ...emptyStore, users, appServerKeys, tariffs },
    clock,
    log,
    ...(options.weigh && { random: options.weigh }),
  });
  const billing = options.billing ?? new MemoryBilling();
  const events: ChargingEvent[] = [];
  let broken = false;
  const core = createCore({
    config,
    clock,
    random,
    log,
    transport: network,
    transactions,
    directory,
    authenticator: options.signIn
      ? createAuthenticator({
          directory: {
            user: (id) => (id === "alice" ? ALICE : undefined),
            isPortal: (host) => directory.isPortal(host),
          },
          settings: { ...config.authentication, realm: config.portal.realm },
          clock,
          secret: Buffer.alloc(32, 1),
          refused: (refusal) => {
            signInLog.user(refusal);
            strangers.refused(refusal);
          },
        })
      : {
          authenticate: () => ({ verdict: "accepted", user: "alice" }),
          challengesFor: () => undefined,
          names: (uri, user) => uri.user === user && uri.host === "portal.com",
          idIn: ({ user = "" }) => user,
        },
    peerLog,
    strangers,
    appServerAuthenticator: appServerAuthenticator({ config, directory, clock, refused: signInLog.appServer }),
    billing,
    recorder: {
      full: false,
      append: async (event) => {
        await Promise.resolve();
        if (broken) throw new Error("disk full");
        events.push(event);
        options.recorded?.(event);
        const wrong = undocumented(event);
        if (wrong !== "") misfits.push(wrong);
      },
    },
    ...(options.proof && { proof: options.proof }),
    credit,
    resolve: (uri, found) => found([{ transport: "udp", address: canonicalHost(uri.host), port: uri.port ?? 5060 }]),
    ...options.core,
  });
  transactions.attach(new Router(core));
  network.deliver = (message, flow) => transactions.received(message, flow);
  const timersBefore = clock.armed;
  const peers = new Map(
    config.appServers.map(({ id, uri }) => [id, scripted.peer(canonicalHost(sipUriOf(uri)!.host), 5060, "udp")]),
  );
  return {
    clock,
    core,
    transactions,
    events,
    billing,
    credit,
    client: scripted.peer(options.clientAddress ?? "192.0.2.50", 5062, options.clientTransport ?? "udp"),
    server: (id) => peers.get(id)!,
    peer: (address, port, transport = "udp") => scripted.peer(address, port, transport),
    settle: async () => {
      for (let i = 0; i < 20; i++) await Promise.resolve();
    },
    leftovers: () => ({
      sessions: core.sessions.size,
      requests: core.requests.size,
      legs: core.legs.size,
      legsByFlow: core.legsByFlow.size,
      transactions: transactions.size,
      ...(core.calls.open !== 0 && { records: core.calls.open }),
      ...(core.otherFlows.size !== 0 && { waitingForFlows: core.otherFlows.size }),
      // The queues of the transactions keep a timeout armed for a while after the last was stopped.
      timers: transactions.timersRunning + Math.max(0, clock.armed - timersBefore - MAX_QUEUES),
    }),
    breakRecorder: (value) => {
      broken = value;
    },
  };
}

const MAX_QUEUES = 12;

const emptyRegistry = {
  get: async () => undefined,
  list: async () => [],
  put: async () => {},
  add: async () => true,
  change: async () => undefined,
  putAll: async () => {},
  remove: async () => false,
};
const ALICE = userRecord({ id: "alice", realm: "portal.com", password: "secret", md5: true });
const PREPAID: User = { id: "alice", realm: "portal.com", ha1: { sha256: "" }, prepaid: { currency: "EUR" } };
const emptyStore = {
  users: emptyRegistry,
  services: emptyRegistry,
  appServers: emptyRegistry,
  tariffs: emptyRegistry,
  appServerKeys: emptyRegistry,
  directoryVersion: async () => 0,
} satisfies Pick<Store, "users" | "services" | "appServers" | "tariffs" | "appServerKeys" | "directoryVersion">;

let tokens = 0;
const counting = (): Random => ({ token: () => `t${(++tokens).toString(16).padStart(8, "0")}` });

/** Carries bytes between the relay and the peers; each message is parsed anew at the other end. */
class Network implements TransportLayer {
  deliver: (message: SipMessage, flow: Flow) => void = () => {};
  private readonly peers = new Map<string, Peer>();

  peer(address: string, port: number, transport: "udp" | "tcp"): Peer {
    const peer = new Peer(this, address, port, transport);
    this.peers.set(`${address}:${port}`, peer);
    return peer;
  }

  flowTo(address: string, port: number): Flow {
    const peer = this.peers.get(`${address}:${port}`);
    return (
      peer?.flow ?? {
        id: `udp/${address}:${port}`,
        transport: "udp",
        reliable: false,
        secure: false,
        remoteAddress: address,
        remotePort: port,
        open: true,
        send() {},
      }
    );
  }

  sendRequest(
    request: SipRequest,
    { address, port }: Destination,
    branch: string,
    via?: Flow,
  ): { flow: Flow; bytes: Buffer } {
    const flow = via ?? this.flowTo(address, port);
    request.headers.prepend("Via", `SIP/2.0/${flow.transport.toUpperCase()} ${RELAY}:5060;rport;branch=${branch}`);
    request.changed();
    const bytes = serialize(request);
    flow.send(bytes);
    return { flow, bytes };
  }

  wayTo({ transport, address, port }: Destination): Flow | undefined {
    return transport === "udp" ? this.flowTo(address, port) : undefined;
  }

  flowFor({ address, port }: Destination): Flow {
    return this.flowTo(address, port);
  }

  contactFor({ transport }: Flow): string {
    return transport === "udp" ? `${RELAY}:5060` : `${RELAY}:5060;transport=${transport}`;
  }

  contactTowards(): string {
    return `${RELAY}:5060`;
  }
}

let calls = 0;

/** A client or an app server, moved by hand. What the relay sent it waits in `inbox`. */
export class Peer {
  readonly inbox: SipMessage[] = [];
  readonly flow: Flow & { open: boolean; remoteAddress: string; remotePort: number };
  /** The value of its Contact; "": it sends none. */
  contact: string;
  /** Drops what the relay sends. */
  deaf = false;
  private readonly network: Pick<Network, "deliver">;
  readonly address: string;
  readonly port: number;
  private branches = 0;

  /** `network.deliver` takes what this peer sends; whatever `flow.send` is given lies in `inbox`. */
  constructor(network: Pick<Network, "deliver">, address: string, port: number, transport: TransportName) {
    this.network = network;
    this.address = address;
    this.port = port;
    this.contact = `<sip:peer@${hostPort(address, port)}>`;
    this.flow = {
      id: `${transport}/${address}:${port}`,
      transport,
      reliable: KINDS[transport].reliable,
      secure: KINDS[transport].secure,
      remoteAddress: address,
      remotePort: port,
      open: true,
      send: (bytes) => {
        if (this.deaf) return;
        const read = parseMessage(bytes, "datagram");
        if (!read.ok) throw new Error(`the relay sent what cannot be read: ${read.error.reason}\n${bytes}`);
        this.inbox.push(read.value);
      },
    };
  }

  send(message: SipMessage): void {
    const read = parseMessage(serialize(message), "datagram");
    if (!read.ok) throw new Error(`the test sent what cannot be read: ${read.error.reason}`);
    this.network.deliver(read.value, this.flow);
  }

  /** A first INVITE; `headers` are added. `from` is a From without its tag. */
  invite(
    options: {
      headers?: [string, string][];
      body?: string;
      type?: string;
      uri?: string;
      from?: string;
      to?: string;
    } = {},
  ): SipRequest {
    const uri = options.uri ?? "sip:service1@portal.com";
    const headers = new Headers()
      .add("Via", this.via())
      .add("From", `${options.from ?? '"Alice" <sip:alice@portal.com>'};tag=c${++calls}`)
      .add("To", options.to ?? `<${uri}>`)
      .add("Call-ID", `call-${calls}`)
      .add("CSeq", "1 INVITE")
      .add("Max-Forwards", "70");
    if (this.contact !== "") headers.add("Contact", this.contact);
    for (const [name, value] of options.headers ?? []) headers.add(name, value);
    if (options.body !== undefined) headers.add("Content-Type", options.type ?? "application/sdp");
    const invite = new SipRequest("INVITE", uri, headers, Buffer.from(options.body ?? ""));
    this.send(invite);
    return invite;
  }

  /** A request outside of any dialog, with these header fields and no Contact of its own. */
  outside(method: string, extra: [string, string][], uri = "sip:portal.com", body = ""): SipRequest {
    const headers = new Headers()
      .add("Via", this.via())
      .add("From", `<sip:alice@portal.com>;tag=c${++calls}`)
      .add("To", `<${uri}>`)
      .add("Call-ID", `call-${calls}`)
      .add("CSeq", `1 ${method}`)
      .add("Max-Forwards", "70");
    for (const [name, value] of extra) headers.add(name, value);
    const request = new SipRequest(method, uri, headers, Buffer.from(body));
    this.send(request);
    return request;
  }

  /** The next message of the inbox, which must be this request or this status. */
  take(what: string | number): SipMessage {
    const message = this.inbox.shift();
    const is = message === undefined ? "nothing" : message.isRequest ? message.method : message.status;
    if (is !== what) throw new Error(`expected ${what}, got ${is}${message ? `\n${serialize(message)}` : ""}`);
    return message!;
  }

  request(method: string): SipRequest {
    return this.take(method) as SipRequest;
  }

  response(status: number): SipResponse {
    return this.take(status) as SipResponse;
  }

  /** Answers a request of the relay's. */
  answer(
    request: SipRequest,
    status: number,
    options: { tag?: string; headers?: [string, string][]; body?: string; type?: string } = {},
  ): SipResponse {
    const response = responseTo(request, status, reasonPhrase(status), options.tag ?? `s-${this.address}`);
    if (request.method === "INVITE" && status > 100 && status < 300 && this.contact !== "")
      response.headers.add("Contact", this.contact);
    for (const [name, value] of options.headers ?? []) response.headers.add(name, value);
    if (options.body !== undefined) {
      response.headers.add("Content-Type", options.type ?? "application/sdp");
      response.body = Buffer.from(options.body);
    }
    this.send(response);
    return response;
  }

  /** ACK of a final answer to an INVITE of this peer. */
  ack(invite: SipRequest, final: SipResponse, body?: string): void {
    const success = final.status < 300;
    const headers = new Headers()
      .add("Via", success ? this.via() : invite.headers.get("via")!)
      .add("From", invite.headers.get("from")!)
      .add("To", final.headers.get("to")!)
      .add("Call-ID", invite.callId)
      .add("CSeq", `${invite.cseq!.number} ACK`)
      .add("Max-Forwards", "70");
    if (body !== undefined) headers.add("Content-Type", "application/sdp");
    this.send(new SipRequest("ACK", success ? contactOf(final) : invite.uri, headers, Buffer.from(body ?? "")));
  }

  /** A request inside the dialog that `invite` and its answer made; from the caller's side. */
  inDialog(
    method: string,
    invite: SipRequest,
    answer: SipResponse,
    seq: number,
    extra: { headers?: [string, string][]; body?: string; type?: string } = {},
  ): SipRequest {
    return this.within(
      method,
      invite.headers.get("from")!,
      answer.headers.get("to")!,
      invite.callId,
      contactOf(answer),
      seq,
      extra,
    );
  }

  /** The same from the callee's side: `invite` came from the relay, `answer` was ours. */
  backInDialog(
    method: string,
    invite: SipRequest,
    answer: SipResponse,
    seq: number,
    extra: { headers?: [string, string][]; body?: string; type?: string } = {},
  ): SipRequest {
    return this.within(
      method,
      answer.headers.get("to")!,
      invite.headers.get("from")!,
      invite.callId,
      contactOf(invite),
      seq,
      extra,
    );
  }

  within(
    method: string,
    from: string,
    to: string,
    callId: string,
    uri: string,
    seq: number,
    extra: { headers?: [string, string][]; body?: string; type?: string },
  ): SipRequest {
    const headers = new Headers()
      .add("Via", this.via())
      .add("From", from)
      .add("To", to)
      .add("Call-ID", callId)
      .add("CSeq", `${seq} ${method}`)
      .add("Max-Forwards", "70");
    if ((method === "INVITE" || method === "UPDATE") && this.contact !== "") headers.add("Contact", this.contact);
    for (const [name, value] of extra.headers ?? []) headers.add(name, value);
    if (extra.body !== undefined) headers.add("Content-Type", extra.type ?? "application/sdp");
    const request = new SipRequest(method, uri, headers, Buffer.from(extra.body ?? ""));
    this.send(request);
    return request;
  }

  /** CANCEL of an INVITE of this peer (RFC 3261 §9.1). */
  cancel(invite: SipRequest, extra: [string, string][] = []): void {
    const headers = new Headers()
      .add("Via", invite.headers.get("via")!)
      .add("From", invite.headers.get("from")!)
      .add("To", invite.headers.get("to")!)
      .add("Call-ID", invite.callId)
      .add("CSeq", `${invite.cseq!.number} CANCEL`)
      .add("Max-Forwards", "70");
    for (const [name, value] of extra) headers.add(name, value);
    this.send(new SipRequest("CANCEL", invite.uri, headers));
  }

  private via(): string {
    return `SIP/2.0/${this.flow.transport.toUpperCase()} ${hostPort(this.address, this.port)};branch=z9hG4bK-${this.port}-${++this.branches}-${calls}`;
  }
}

const contactOf = (message: SipMessage): string =>
  /<([^>]*)>/.exec(message.headers.get("contact") ?? "")?.[1] ?? "sip:nowhere.invalid";

/** Plays a call until it is established. */
export async function establish(
  l: Lab,
  options: { server?: string; answerHeaders?: [string, string][]; inviteHeaders?: [string, string][] } = {},
) {
  const server = l.server(options.server ?? "a");
  const invite = l.client.invite({ body: "v=0", ...(options.inviteHeaders && { headers: options.inviteHeaders }) });
  await l.settle(); // a prepaid user's balance is asked first
  const inviteAtServer = server.request("INVITE");
  const answerOfServer = server.answer(inviteAtServer, 200, {
    body: "v=1",
    ...(options.answerHeaders && { headers: options.answerHeaders }),
  });
  const answer = l.client.response(200);
  l.client.ack(invite, answer);
  const ack = server.request("ACK");
  await l.settle();
  return { server, invite, answer, inviteAtServer, answerOfServer, ack };
}
