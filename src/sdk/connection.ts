/** What carries SIP messages to and from the relay. */
export interface Connection {
  /** Where this side is; undefined: nobody can connect to it, as in a browser (RFC 7118 §5). */
  readonly localAddress: string | undefined;
  readonly localPort: number | undefined;
  readonly open: boolean;
  /** Sends one message; rejects where the connection is gone or the peer has stopped reading. */
  send(message: string): Promise<void>;
  /** Sends a keep-alive (RFC 5626 §3.5.1). */
  ping(): void;
  /** Lets what is written reach the peer, then closes. */
  finish(reason: string): void;
}

export interface ConnectionUser<C = Connection> {
  /** One whole SIP message. */
  received(message: string, connection: C): void;
  /** Called once, whoever closed it. */
  closed(connection: C, reason: string): void;
}

/** One relay, and how to get there. */
export interface RelayAddress {
  /** The error says where it could not connect to, and why. */
  connect(user: ConnectionUser): Promise<Connection>;
}

/** Where the relays are, as the options of a client say. */
export interface Relays {
  readonly protocol: "TCP" | "TLS" | "WS" | "WSS";
  /** At least one. */
  readonly addresses: readonly RelayAddress[];
  /** The host of the first, which is the domain where none is given. */
  readonly host: string;
}
