import type { Headers, SipRequest, SipResponse } from "../sip/message.ts";
import { serialize } from "../sip/serialize.ts";

/*
 * A bound for answers to an address that may be forged (RFC 4732 §3.1, RFC 3261 §26.3.2.4): never much more is sent
 * there than has come from there. A client sends some hundreds of octets, and an answer copies less than half of them.
 * So only a request that is as short as can be comes near the bound.
 */

/** An answer is at most so many times as long as its request. */
const TIMES = 3;

/** Header fields that a client can do without: the status and the reason phrase still tell it why it was refused. */
const DISPENSABLE: ReadonlySet<string> = new Set(["allow", "accept", "supported", "retry-after", "warning"]);

/**
 * The octets of an answer to a request whose source address may be forged. Undefined: the answer is too long even
 * without the fields that can be left out.
 */
export function inProportion(response: SipResponse, request: SipRequest): Buffer | undefined {
  const most = TIMES * leastSize(request);
  const bytes = serialize(response);
  if (bytes.length <= most) return bytes;
  strip(response.headers);
  response.changed();
  response.body = NOTHING;
  const short = serialize(response);
  return short.length <= most ? short : undefined;
}

const NOTHING = Buffer.alloc(0);

function strip({ fields }: Headers): void {
  for (let i = fields.length - 1; i >= 0; i--) if (DISPENSABLE.has(fields[i]!.key)) fields.splice(i, 1);
}

/**
 * How many octets a request had at least: its names may have come in their compact form, and we added `received` and
 * `rport` ourselves.
 */
function leastSize({ method, uri, headers, via, body }: SipRequest): number {
  let size = method.length + uri.length + START_LINE + body.length;
  for (const { value } of headers.fields) size += LEAST_OF_A_LINE + value.length;
  const received = via?.params.get("received");
  if (received !== undefined) size -= ";received=".length + received.length;
  const rport = via?.params.get("rport");
  if (rport) size -= 1 + rport.length;
  return size;
}

/** Two blanks, the version, and the line ends of it and of the head. */
const START_LINE = 13;
/** A name of one letter, a colon, and a line end. */
const LEAST_OF_A_LINE = 4;
