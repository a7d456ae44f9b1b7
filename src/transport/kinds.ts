/** What is always so of one transport. */
export interface Kind {
  /** How a Via writes it (RFC 3261 §20.42, RFC 7118 §5.1). */
  readonly via: string;
  /** RFC 3261 §19.1.2, RFC 7118 §5.5. */
  readonly port: number;
  readonly reliable: boolean;
  /** The peer cannot be overheard. */
  readonly secure: boolean;
  /** The relay can open a connection to a peer that came by this transport. Nobody listens in a browser (RFC 7118). */
  readonly callsBack: boolean;
  /** RFC 3263 §4.1, RFC 7118 §5.5: the NAPTR service, and the beginning of the SRV name. */
  readonly naptr: string;
  readonly srv: string;
  /** It ends within this process (`inside.ts`): nobody listens by it, and no DNS record leads to it. */
  readonly inside: boolean;
}

/**
 * The transports, the preferred one first. A new one takes a row here, a way to listen and to connect in `streams.ts`,
 * and no other place.
 */
export const KINDS = {
  udp: row("UDP", 5060, { reliable: false, callsBack: true, naptr: "SIP+D2U", srv: "_sip._udp" }),
  tcp: row("TCP", 5060, { callsBack: true, naptr: "SIP+D2T", srv: "_sip._tcp" }),
  tls: row("TLS", 5061, { secure: true, callsBack: true, naptr: "SIPS+D2T", srv: "_sips._tcp" }),
  ws: row("WS", 80, { naptr: "SIP+D2W", srv: "_sip._ws" }),
  wss: row("WSS", 443, { secure: true, naptr: "SIPS+D2W", srv: "_sips._ws" }),
  http: row("HTTP", 443, { secure: true, naptr: "", srv: "", inside: true }),
};

function row(
  via: string,
  port: number,
  {
    reliable = true,
    secure = false,
    callsBack = false,
    naptr,
    srv,
    inside = false,
  }: Partial<Kind> & Pick<Kind, "naptr" | "srv">,
): Kind {
  return { via, port, reliable, secure, callsBack, naptr, srv, inside };
}

export type TransportName = keyof typeof KINDS;

/** The transports that this relay sends by. */
export const TRANSPORTS = Object.keys(KINDS) as readonly TransportName[];

const NAMES: ReadonlySet<string> = new Set(TRANSPORTS);
const BY_VIA: ReadonlyMap<string, TransportName> = new Map(TRANSPORTS.map((name) => [KINDS[name].via, name]));

export const isTransport = (name: string): name is TransportName => NAMES.has(name);
/** Those of them that others can see: by which one can listen, and which a URI of the configuration may name. */
export const OPEN_TRANSPORTS: readonly TransportName[] = TRANSPORTS.filter((name) => !KINDS[name].inside);

export const isOpenTransport = (name: string): name is TransportName => isTransport(name) && !KINDS[name].inside;

/** The transport that a Via names; undefined: none that is known here. */
export const transportOfVia = (written: string): TransportName | undefined =>
  BY_VIA.get(written) ?? BY_VIA.get(written.toUpperCase());
