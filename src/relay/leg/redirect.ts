import { parseNameAddr, splitList } from "../../sip/headers.ts";
import { SipRequest, type SipResponse } from "../../sip/message.ts";
import { NO_PARAMS } from "../../sip/params.ts";
import { effectivePort, formatUri, type SipUri, sipUriOf, unescapeUser } from "../../sip/uri.ts";
import { sameHost } from "../../support/address.ts";
import type { ServerTransaction } from "../../transaction/types.ts";
import type { Core } from "../model/core.ts";

/*
 * 3xx from an app server (RFC 3261 §21.3). A client that followed it would get past sign-in, clock and bill, so the
 * client does not hear of it. The relay follows it itself, as a proxy that recurses does (§16.7, step 4), if the portal
 * offers what is there. Otherwise the 3xx is a refusal.
 */

/** What one or several redirections lead to. */
export interface Way {
  /** The request for another service; undefined where the service stays the same. */
  readonly request: SipRequest | undefined;
  /** The app servers to ask. */
  readonly only: readonly string[];
}

/** Redirections that one request may go through. */
export const MAX_REDIRECTS = 5;

/** What a client hears instead of a redirection that leads nowhere. */
export const LEADS_NOWHERE = { status: 480 } as const;

export const isRedirection = (status: number): boolean => status >= 300 && status < 400;

/**
 * The statuses whose Contact says where to go on. 305 and 380 ask the caller to use a proxy or another kind of call,
 * which an app server may not decide.
 */
const LEADING: readonly number[] = [300, 301, 302];

/** A request that may be redirected: what it is for, and who may be asked. */
export interface Redirected {
  readonly request: SipRequest;
  readonly service: string;
  /** Who signed in. */
  readonly user: string;
  /** App servers that may be asked; undefined: all that offer the service. */
  readonly allowed: readonly string[] | undefined;
  /** Whether that app server was asked for that service before. */
  wasAsked(service: string, appServer: string): boolean;
}

/** Where these answers lead, the best first (RFC 3261 §20.10, `q`); undefined: nowhere that the portal offers. */
export function wayOn(core: Core, redirected: Redirected, answers: readonly SipResponse[]): Way | undefined {
  for (const uri of targetsOf(answers)) {
    const way = wayTo(core, redirected, uri);
    if (way) return way;
  }
  return undefined;
}

function targetsOf(answers: readonly SipResponse[]): SipUri[] {
  const targets: { readonly uri: SipUri; readonly q: number }[] = [];
  for (const { status, headers } of answers) {
    if (!LEADING.includes(status)) continue;
    for (const contact of headers.all("contact").flatMap(splitList).slice(0, MAX_CONTACTS)) {
      const address = parseNameAddr(contact);
      const uri = address.ok ? sipUriOf(address.value.uri) : undefined;
      const q = address.ok ? Number(address.value.params.get("q") ?? 1) : 0;
      if (uri) targets.push({ uri, q: Number.isFinite(q) ? q : 0 });
    }
  }
  return targets.sort((a, b) => b.q - a.q).map(({ uri }) => uri);
}

const MAX_CONTACTS = 16;

function wayTo(core: Core, redirected: Redirected, uri: SipUri): Way | undefined {
  const { directory, config } = core;
  const server = directory.appServers().find((one) => isAt(one.uri, uri));
  if (!server) return directory.isPortal(uri.host) ? wayToService(core, redirected, uri) : undefined;
  const user = unescapeUser(uri);
  if (user !== undefined && user !== redirected.service && server.services.includes(user)) {
    const service: SipUri = { scheme: "sip", user: uri.user, host: config.portal.domains[0]!, params: NO_PARAMS };
    return wayToService(core, redirected, service, [server.id]);
  }
  return sameService(core, redirected, [server.id]);
}

/** Other app servers for the service that was asked for. */
function sameService(core: Core, redirected: Redirected, only?: readonly string[]): Way | undefined {
  const { service, allowed } = redirected;
  const servers = core.directory
    .serversFor(service, among(allowed, only))
    .filter(({ id }) => !redirected.wasAsked(service, id))
    .map(({ id }) => id);
  return servers.length > 0 ? { request: undefined, only: servers } : undefined;
}

/** A service of the portal, by its URI. Rules and search run again, as if the client had asked for it. */
function wayToService(core: Core, redirected: Redirected, uri: SipUri, only?: readonly string[]): Way | undefined {
  const { method, headers, body } = redirected.request;
  const request = new SipRequest(method, formatUri({ ...uri, params: NO_PARAMS, headers: undefined }), headers, body);
  const identified = core.directory.identify(request, redirected.user);
  if (!identified.ok) return undefined;
  const { service, appServers } = identified.value;
  if (service.id === redirected.service) return sameService(core, redirected, only);
  if (core.config.session.redirects !== "portal") return undefined;
  const servers = core.directory
    .serversFor(service.id, among(appServers, only))
    .filter(({ id }) => !redirected.wasAsked(service.id, id));
  return servers.length > 0 ? { request, only: servers.map(({ id }) => id) } : undefined;
}

/** The client's transaction, for another request than the client's own. */
export class TransactionFor implements ServerTransaction {
  readonly request: SipRequest;
  private readonly client: ServerTransaction;

  constructor(client: ServerTransaction, request: SipRequest) {
    this.client = client;
    this.request = request;
  }

  get flow() {
    return this.client.flow;
  }

  get witness() {
    return this.client.witness;
  }

  get answered() {
    return this.client.answered;
  }

  get told() {
    return this.client.told;
  }

  respond(response: SipResponse): void {
    this.client.respond(response);
  }

  set onTrying(fn: () => void) {
    this.client.onTrying = fn;
  }

  set onCancel(fn: (cancel: SipRequest) => void) {
    this.client.onCancel = fn;
  }

  set onFlowFailed(fn: (reason: string) => void) {
    this.client.onFlowFailed = fn;
  }
}

/** What is in both lists; where one list is undefined, all of the other. */
export const among = (
  all: readonly string[] | undefined,
  only: readonly string[] | undefined,
): readonly string[] | undefined => (all && only ? all.filter((id) => only.includes(id)) : (only ?? all));

/** Whether a URI names the host and port of an app server's (RFC 3261 §19.1.4). */
export function isAt(address: string | undefined, uri: SipUri): boolean {
  const own = address === undefined ? undefined : sipUriOf(address);
  return own !== undefined && sameHost(own.host, uri.host) && effectivePort(own) === effectivePort(uri);
}

/** Contacts that lead to the portal itself: the only ones that a client may be told of. */
export function portalContacts(core: Core, { headers }: SipResponse): string[] {
  return headers.all("contact").flatMap((line) =>
    splitList(line).filter((contact) => {
      const address = parseNameAddr(contact);
      const uri = address.ok ? sipUriOf(address.value.uri) : undefined;
      return uri !== undefined && isAtPortal(core, uri);
    }),
  );
}

function isAtPortal({ directory }: Core, uri: SipUri): boolean {
  return directory.isPortal(uri.host) && !directory.appServers().some((server) => isAt(server.uri, uri));
}
