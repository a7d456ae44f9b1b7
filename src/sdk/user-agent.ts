import {
  Grammar,
  type IncomingRequestMessage,
  LoggerFactory,
  Parser,
  IncomingRequestMessage as RequestMessage,
  IncomingResponseMessage as ResponseMessage,
  type Transport,
  URI,
  UserAgentCore,
  type UserAgentCoreDelegate,
} from "sip.js/lib/core/index.js";
import type { Logger } from "../support/log.ts";
import { DigestCredentials, type Hashes, selectChallenge } from "./digest.ts";
import { token } from "./token.ts";
import { receiveUpdate, tellOfCancel } from "./update.ts";

export const USER_AGENT = "tollgate-sdk";
export const ALLOW = "Allow: INVITE, ACK, BYE, CANCEL, INFO, OPTIONS, NOTIFY, UPDATE";

/**
 * SIP.js below its `UserAgent`: the user agent core, with dialogs and transactions as RFC 3261 has them.
 *
 * SIP.js' `Session`, one layer above, is not used: it is made for calls with SDP. It ends a session with BYE 488 or 400
 * if a body is not `application/sdp`, or if the answer has none. Here the body describes a service, and a success need
 * not have one.
 */
export interface UserAgent {
  readonly core: UserAgentCore;
  readonly contact: string;
  /** Takes one whole message from the transport; never throws. */
  receive(message: string): void;
}

export interface UserAgentOptions {
  readonly transport: Transport;
  /** Address of record: the From of requests outside of a dialog. */
  readonly aor: URI;
  /** Where the other side is to send requests within a dialog; also the host in Via. */
  readonly contact: { readonly user?: string; readonly host: string; readonly port?: number };
  readonly credentials?: { readonly user: string; readonly password: string };
  readonly hashes: Hashes;
  readonly delegate?: UserAgentCoreDelegate;
  /** The answer to OPTIONS (RFC 3261 §11), with which health checks ask. Default: status 200. */
  readonly options?: () => { statusCode: number; extraHeaders?: string[] };
  readonly logger?: Logger;
}

export function createUserAgent(options: UserAgentOptions): UserAgent {
  const { transport, credentials, hashes, logger } = options;
  const loggerFactory = new LoggerFactory();
  loggerFactory.builtinEnabled = false;
  if (logger)
    loggerFactory.connector = (level, category, _label, content) => logger.debug({ level, category }, String(content));

  const host = bracketed(options.contact.host);
  const { user = "", port } = options.contact;
  const uri = new URI("sip", user, host, port, { transport: transportIn(transport.protocol) });
  const contact = `<${uri.toRaw()}>`;
  const core = new UserAgentCore(
    {
      aor: options.aor,
      contact: { pubGruu: undefined, tempGruu: undefined, uri, toString: () => contact },
      displayName: "",
      loggerFactory,
      hackViaTcp: false,
      routeSet: [],
      sipjsId: token(32),
      supportedOptionTags: [],
      supportedOptionTagsResponse: [],
      userAgentHeaderFieldValue: USER_AGENT,
      viaForceRport: false,
      viaHost: port === undefined ? host : `${host}:${port}`,
      authenticationFactory: () =>
        credentials ? new DigestCredentials(credentials.user, credentials.password, hashes) : undefined,
      transportAccessor: () => transport,
    },
    options.delegate,
  );

  const receive = (text: string) => {
    try {
      const message = Parser.parseMessage(selectChallenge(text, hashes), loggerFactory.getLogger("sip.parser"));
      if (message instanceof RequestMessage) receiveRequest(core, message, options.options);
      else if (message instanceof ResponseMessage) core.receiveIncomingResponseFromTransport(message);
      else logger?.warn("a message that cannot be read was dropped");
    } catch (error) {
      // SIP.js throws on some unexpected messages.
      logger?.warn({ err: error }, "a message that SIP.js cannot process was dropped");
    }
  };
  return { core, contact, receive };
}

/** In a URI, `ws` stands for WebSocket with and without TLS (RFC 7118 §5.4). */
const transportIn = (protocol: string): string => (protocol === "WSS" ? "ws" : protocol.toLowerCase());

function receiveRequest(
  core: UserAgentCore,
  message: IncomingRequestMessage,
  options: UserAgentOptions["options"],
): void {
  // RFC 3261 §8.1.1: without these there is no way to answer.
  for (const header of ["from", "to", "call-id", "cseq", "via"]) if (!message.hasHeader(header)) return;
  if (message.method !== "OPTIONS") {
    // SIP.js answers 404 unless the Request-URI has the user of its own address. Here the Request-URI may name a
    // service, so it is replaced by that address; who gets the request decides about the service.
    message.ruri = core.configuration.contact.uri;
    if (message.method === "UPDATE") receiveUpdate(core, message);
    else core.receiveIncomingRequestFromTransport(message);
    if (message.method === "CANCEL") tellOfCancel(core, message);
    return;
  }
  // RFC 3261 §12.2.2: 481 within an unknown dialog, so that the relay learns that a session is gone when it asks.
  if (message.toTag && !core.dialogs.has(message.callId + message.toTag + message.fromTag)) {
    core.replyStateless(message, { statusCode: 481 });
    return;
  }
  const { statusCode, extraHeaders = [] } = options?.() ?? { statusCode: 200 };
  core.replyStateless(message, { statusCode, extraHeaders: [ALLOW, "Accept: */*", ...extraHeaders] });
}

/** The Request-URI as it came. */
export function requestUriOf(message: IncomingRequestMessage): URI | undefined {
  const start = message.method.length + 1;
  return Grammar.URIParse(message.data.slice(start, message.data.indexOf(" ", start)));
}

/** An IPv6 address as it is written in a URI and a Via (RFC 3261 §25.1 IPv6reference). */
export const bracketed = (host: string) => (host.includes(":") && !host.startsWith("[") ? `[${host}]` : host);
export const unbracketed = (host: string) => (host.startsWith("[") ? host.slice(1, -1) : host);
