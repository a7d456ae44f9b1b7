import type { HttpBindings } from "@hono/node-server";
import type { Context } from "hono";
import { canonicalHost, isLoopback } from "../support/address.ts";
import { forwardedFor } from "../support/forwarded.ts";
import { Networks } from "../support/networks.ts";

/** Where a request comes from. */
export interface HttpSource {
  /** The sender's address, if only the operator's own proxies are between; else the address of the last hop. */
  readonly address: string;
  /** The port of the last hop; undefined behind a proxy, which tells no port. */
  readonly port: number | undefined;
  /** The sender is on this machine, and certainly no proxy on this machine sends for somebody else. */
  readonly isLocal: boolean;
}

/** Header fields that proxies add. A request with one of them was forwarded, or claims to be. */
const FORWARDED = [
  "x-forwarded-for",
  "forwarded",
  "x-real-ip",
  "via",
  "x-forwarded-host",
  "x-forwarded-proto",
  "x-client-ip",
  "true-client-ip",
  "cf-connecting-ip",
];

/**
 * Says where HTTP requests come from. It believes X-Forwarded-For if a proxy of the operator has written it, and never
 * what a stranger could have written.
 */
export class HttpSources {
  private readonly proxies: Networks;
  private readonly plain: boolean;

  /**
   * `plain`: the operator says that a proxy stands before the relay. It is on this machine, unless `trustedProxies`
   * names another.
   */
  constructor(trustedProxies: readonly string[], plain: boolean) {
    this.plain = plain;
    this.proxies = new Networks(trustedProxies);
  }

  isProxy(address: string): boolean {
    return this.proxies.includes(address) || (this.plain && isLoopback(address));
  }

  of(c: Pick<Context<{ Bindings: HttpBindings }>, "env" | "req">): HttpSource {
    const { remoteAddress = "", remotePort } = c.env.incoming.socket;
    const last = canonicalHost(remoteAddress);
    // Some proxies add nothing. If there is one on this machine, a request from here may always be forwarded.
    const isLocal =
      isLoopback(last) && !this.isProxy(last) && FORWARDED.every((name) => c.req.header(name) === undefined);
    const noted = this.isProxy(last) ? c.req.header("x-forwarded-for") : undefined;
    if (noted === undefined) return { address: last, port: remotePort, isLocal };
    const address = forwardedFor(noted, last, (hop) => this.isProxy(hop));
    return { address, port: undefined, isLocal };
  }
}
