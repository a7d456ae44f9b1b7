import { existsSync } from "node:fs";
import { join } from "node:path";
import type { SecureContext } from "node:tls";
import { CHARGE_JSON, parseChargeBody } from "../charging/charges/body.ts";
import type { DirectCharges } from "../charging/charges/direct.ts";
import type { Charge } from "../charging/events/charge-fields.ts";
import type { Config } from "../config/schema.ts";
import { httpUrlProblem } from "../directory/http-address.ts";
import type { AppServer } from "../directory/types.ts";
import type { IdentityKey } from "../identity/key.ts";
import type { Core, LegPort } from "../relay/model/core.ts";
import type { TimerHandle } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import { type InsidePeer, type InsidePeers, insideAddress } from "../transport/inside.ts";
import { json } from "./answers.ts";
import { type Attempt, Deliveries } from "./deliveries.ts";
import { SERVICE_KEY, SESSION_KEY } from "./dialogs.ts";
import { EventCopies } from "./event-copies.ts";
import { EventFile, type KeptEvent } from "./event-file.ts";
import { seenOf } from "./events.ts";
import { HttpClient, type HttpQuestion, type Outcome } from "./http-client.ts";
import type { Said, ServiceWanted } from "./own-requests.ts";
import { SipPart } from "./sip-part.ts";
import { type Signer, signedToken } from "./token.ts";

export interface HttpAppServersOptions {
  readonly config: Config;
  readonly log: Logger;
  /** The portal's key; undefined: nothing can be signed, so nobody is asked. */
  /** The key that holds now; undefined: the relay does not sign. */
  readonly identity: (() => IdentityKey) | undefined;
  /** The cluster; undefined: the relay is alone. */
  readonly cluster?: NodesAround | undefined;
}

/** What is needed of the other nodes. */
export interface NodesAround {
  readonly node: string;
  /** Tells all nodes, and hears what they tell. */
  tell(topic: string, text: string): void;
  hear(topic: string, heard: (text: string) => void): () => void;
  nodes(): readonly { readonly node: string; readonly state: string }[];
}

const COPIES = "app-server-events";
/** How often a node looks for others that are gone. */
const LOOK_MS = 2_000;

/** What an app server asks for in one of its sessions. */
export type Action =
  | { readonly kind: "end"; readonly charges: readonly Charge[] }
  | { readonly kind: "change"; readonly wanted: ServiceWanted }
  | { readonly kind: "move"; readonly to: string; readonly keep?: boolean };

/** `session`, `service`: of a change, what holds from now on. */
export type Acted =
  | { readonly kind: "done"; readonly session: string; readonly service?: string }
  | { readonly kind: "refused"; readonly status: number; readonly reason: string }
  /** There is no such session of this app server here. `speaks SIP`: it has a dialog of its own for that. */
  | { readonly kind: "unknown" | "speaks SIP" };

const CANNOT = "an app server that speaks HTTP cannot be asked";
const CLOSE_MS = 2_000;

/** The app servers of this relay that speak HTTP: their SIP parts, and what they are still to be told. */
export class HttpAppServers implements InsidePeers {
  private readonly options: HttpAppServersOptions;
  private readonly parts = new Map<string, SipPart>();
  private readonly clients = new Map<string, { readonly server: AppServer; readonly client: HttpClient }>();
  private readonly path: string;
  private file: EventFile | undefined;
  private readonly signer: (() => Omit<Signer, "clock" | "random">) | undefined;
  /** What was said of app servers that cannot be asked. */
  private readonly warned = new Map<string, string>();
  private readonly copies: EventCopies | undefined;
  private deafen: (() => void) | undefined;
  private looking: TimerHandle;
  private core: Core | undefined;
  private secure: (() => SecureContext) | undefined;
  private deliveries: Deliveries | undefined;

  constructor(options: HttpAppServersOptions) {
    this.options = options;
    this.path = join(options.config.data, "app-server-events");
    const { identity, cluster, config } = options;
    if (cluster) {
      const { node } = cluster;
      const tell = (text: string) => cluster.tell(COPIES, text);
      this.copies = new EventCopies({ node, tell, most: config.httpAppServers.events });
    }
    this.signer = identity;
  }

  /** `secure`: whom to believe, and the relay's own certificate, as they are at the time. */
  attach(core: Core, secure: () => SecureContext): void {
    const { config, log } = this.options;
    const { retry, events } = config.httpAppServers;
    this.core = core;
    this.secure = secure;
    this.deliveries = new Deliveries({
      file: () => (this.file ??= EventFile.open(this.path)),
      clock: core.clock,
      log,
      peerLog: core.peerLog,
      retry,
      most: events,
      copies: this.copies,
      tell: (event) => this.tell(event),
    });
    core.directory.whenLoaded(() => this.warn(core));
  }

  /** Says which app servers cannot be asked as things stand. */
  private warn({ directory, log }: Core): void {
    for (const { id, url } of directory.appServers()) {
      const problem = url === undefined ? undefined : this.whyNot(url);
      const said = `${url}: ${problem}`;
      if (problem !== undefined && this.warned.get(id) !== said) log.warn({ appServer: id, why: problem }, CANNOT);
      if (problem === undefined) this.warned.delete(id);
      else this.warned.set(id, said);
    }
  }

  /** Why nobody can be asked at that URL; undefined: it is fit to be asked. */
  private whyNot(url: string): string | undefined {
    const problem = httpUrlProblem(url, this.options.config.httpAppServers.plain);
    if (problem !== undefined) return `its URL must be ${problem}`;
    return this.signer ? undefined : "identity.url is not set, so requests to it cannot be signed";
  }

  /** Tells what an earlier process could not. */
  goOn(): void {
    if (existsSync(this.path)) this.deliveries?.goOn();
    const { copies } = this;
    const { cluster } = this.options;
    if (!copies || !cluster) return;
    this.deafen = cluster.hear(COPIES, (text) => {
      copies.heard(text);
      this.lookLater();
    });
  }

  /** Looks for nodes that are gone, as long as there are copies of what they had to tell. */
  private lookLater(): void {
    const { copies, core } = this;
    if (!core || !copies || this.looking !== undefined || copies.nodes.length === 0) return;
    this.looking = core.clock.setTimeout(() => {
      this.looking = undefined;
      this.takeOver(copies);
      this.lookLater();
    }, LOOK_MS);
  }

  /** One of those that are left tells what the nodes that are gone could not. */
  private takeOver(copies: EventCopies): void {
    const { node, nodes } = this.options.cluster!;
    const all = nodes();
    const first = all
      .filter(({ state }) => state === "up" || state === "draining")
      .map((one) => one.node)
      .sort()[0];
    for (const { node: other, state } of all) {
      if (first !== node || (state !== "dead" && state !== "left")) continue;
      const events = copies.take(other);
      if (events.length === 0) continue;
      const facts = { node: other, events: events.length };
      this.options.log.info(facts, "app servers are told what a node that is gone could not tell them");
      for (const event of events) void this.deliveries?.push(event);
    }
  }

  get counters(): Readonly<Record<string, number>> {
    return this.deliveries?.counters ?? {};
  }

  /** How many events wait until an app server takes them. */
  get waiting(): number {
    return this.deliveries?.size ?? 0;
  }

  open(address: string, send: (bytes: Buffer) => void): InsidePeer | undefined {
    const server = this.core?.directory.appServers().find((one) => one.url && insideAddress(one.id) === address);
    if (!server) return undefined;
    const part = this.partOf(server.id);
    part.opened(send);
    return part;
  }

  /** Does what an app server asks for in its session. */
  async act(appServer: string, session: string, action: Action): Promise<Acted> {
    const { core } = this;
    const found = core?.sessions.get(session);
    const leg = found?.server;
    if (!core || !found || found.appServer.id !== appServer || !leg?.confirmed || leg.over) return { kind: "unknown" };
    if (core.directory.appServer(appServer)?.url === undefined) return { kind: "speaks SIP" };
    const part = this.partOf(appServer);
    switch (action.kind) {
      case "end":
        return this.end(part, leg, action.charges);
      case "change":
        return this.change(part, leg, action.wanted);
      case "move":
        return acted(session, await part.own.move(leg, action.to, action.keep));
    }
  }

  async close(): Promise<void> {
    this.deafen?.();
    this.core?.clock.clearTimeout(this.looking);
    await this.deliveries?.close(CLOSE_MS);
    for (const { client } of this.clients.values()) client.close();
    this.clients.clear();
    await this.file?.close();
  }

  private async end(part: SipPart, leg: LegPort, charges: readonly Charge[]): Promise<Acted> {
    const seen = seenOf(leg.session);
    const said = await part.own.end(leg, charges);
    // A refusal is of the charges: a session that is hung up is over (RFC 3261 §15.1.1).
    void part.tellEnded(leg.dialog.callId, seen, { by: "appServer" });
    return acted(seen.session, said);
  }

  private async change(part: SipPart, leg: LegPort, wanted: ServiceWanted): Promise<Acted> {
    const before = seenOf(leg.session);
    const said = await part.own.change(leg, wanted);
    const headers = said.response?.headers;
    const to = { ...before, session: headers?.get(SESSION_KEY) ?? before.session };
    const service = headers?.get(SERVICE_KEY);
    if (service !== undefined) to.service = service;
    if (said.status < 300 && to.session !== before.session) part.tellChanged(leg.dialog.callId, before.session, to);
    return acted(to.session, said, to.service);
  }

  private partOf(id: string): SipPart {
    let part = this.parts.get(id);
    if (!part) {
      const { core, deliveries } = this;
      const ask = (server: AppServer, text: string, question: Omit<HttpQuestion, "headers" | "body">) =>
        this.ask(server, text, question);
      part = new SipPart(id, { core: core!, deliveries: deliveries!, ask });
      this.parts.set(id, part);
    }
    return part;
  }

  // --- HTTP ---

  private async ask(
    server: AppServer,
    text: string,
    question: Omit<HttpQuestion, "headers" | "body">,
  ): Promise<Outcome> {
    const { core, signer } = this;
    const client = this.clientOf(server);
    if (typeof client === "string") return { failed: client };
    if (!core || !signer) return { failed: "requests to it cannot be signed" };
    const body = Buffer.from(text);
    const token = signedToken({ ...signer(), clock: core.clock, random: core.random }, new URL(server.url!), body);
    const headers = {
      Authorization: `Bearer ${token}`,
      Accept: "application/json",
      "User-Agent": "Tollgate",
      ...(question.traceparent !== undefined && { traceparent: question.traceparent }),
      ...(body.length > 0 && { "Content-Type": "application/json" }),
    };
    return client.ask({ ...question, headers, ...(body.length > 0 && { body }) });
  }

  /** The client for an app server, or why it cannot be asked. */
  private clientOf(server: AppServer): HttpClient | string {
    const known = this.clients.get(server.id);
    if (known && known.server.url === server.url && known.server.certificate === server.certificate)
      return known.client;
    known?.client.close();
    const { config } = this.options;
    const { connectS, answerBytes, connections, waiting } = config.httpAppServers;
    const problem = this.whyNot(server.url ?? "");
    if (problem !== undefined) return problem;
    const bounds = { connectMs: connectS * 1000, answerBytes, connections, waiting };
    const tls = { secure: this.secure, name: server.certificate };
    const client = new HttpClient(new URL(server.url!), bounds, this.core!.clock, tls);
    this.clients.set(server.id, { server, client });
    return client;
  }

  // --- events ---

  /** Tells an app server once what has happened. What it charges in its answer is then on record. */
  private async tell(event: KeptEvent): Promise<Attempt> {
    const server = this.core?.directory.appServer(event.appServer);
    if (!server?.url) return { kind: "refused", why: "there is no such app server any more" };
    const withinMs = this.options.config.httpAppServers.eventS * 1000;
    const outcome = await this.ask(server, event.body, { method: "POST", withinMs });
    if ("failed" in outcome) return { kind: "retry", why: outcome.failed };
    const { status } = outcome;
    if (status >= 200 && status < 300) return this.charge(event, outcome.body);
    const isFinal = status >= 400 && status < 500 && !TEMPORARY.has(status);
    return { kind: isFinal ? "refused" : "retry", why: `it answered ${status}` };
  }

  private async charge(event: KeptEvent, body: Buffer): Promise<Attempt> {
    const charges = event.type === "session.ended" ? chargesIn(event.id, body) : undefined;
    if (charges === undefined) return { kind: "taken" };
    const { core } = this;
    const { session, appServer } = event;
    const read = parseChargeBody(CHARGE_JSON, Buffer.from(JSON.stringify({ charges })));
    const direct: DirectCharges = core!.direct;
    const outcome = read.ok
      ? await direct.charge(appServer, { session, charges: read.value, channel: "direct" })
      : await direct.refuse(appServer, session, { kind: "unreadable", text: read.error });
    if (outcome.kind === "failed") return { kind: "retry", why: "its charges could not be put on record" };
    if (outcome.kind === "refused") {
      const why = outcome.refusal.text;
      core!.peerLog.warn("charges in an app server's answer to session.ended are refused", appServer, {
        appServer,
        session,
        why,
      });
    }
    return { kind: "taken" };
  }
}

/** Statuses of 400 to 499 after which the same may succeed later. */
const TEMPORARY: ReadonlySet<number> = new Set([401, 403, 407, 408, 409, 421, 423, 425, 429]);

/** The charges in an answer; undefined: there are none. One without an id gets one, the same at each repetition. */
function chargesIn(event: string, body: Buffer): unknown[] | undefined {
  const charges = json(body)?.charges;
  if (!Array.isArray(charges) || charges.length === 0) return undefined;
  return charges.map((charge: unknown, i) =>
    typeof charge === "object" && charge !== null && !("id" in charge)
      ? { id: `${event}-${i + 1}`, ...charge }
      : charge,
  );
}

function acted(session: string, { status, reason }: Said, service?: string): Acted {
  if (status >= 300) return { kind: "refused", status, reason };
  return { kind: "done", session, ...(service !== undefined && { service }) };
}
