import { ATTRIBUTES_HEADER, CLIENT_HEADER, SERVICE_HEADER } from "../../charging/charges/header-names.ts";
import type { Identified } from "../../directory/types.ts";
import type { Headers } from "../../sip/message.ts";
import { formatParams } from "../../sip/params.ts";
import { encodeUtf8 } from "../../sip/text.ts";

/**
 * Tells an app server which service is asked for (a rule may have found another one than the Request-URI names), and
 * what the rule says of the request and of the client (M3). `Border.pass` stops such header fields of others.
 */
export function addServiceHeaders(headers: Headers, { service, attributes, client }: Identified): void {
  headers.add(SERVICE_HEADER, service.id);
  addNamed(headers, ATTRIBUTES_HEADER, attributes);
  addNamed(headers, CLIENT_HEADER, client);
}

/** `name=value;name="a value"`, in UTF-8. */
function addNamed(headers: Headers, header: string, named: Readonly<Record<string, string>>): void {
  if (isEmpty(named)) return;
  const params = Object.entries(named).map(
    ([name, value]) => [name, encodeUtf8(value.replace(/\p{Cc}/gu, " "))] as const,
  );
  headers.add(header, formatParams(new Map(params)).slice(1));
}

/** Most rules name nothing. */
function isEmpty(named: object): boolean {
  for (const _ in named) return false;
  return true;
}
