import type { IncomingRequestMessage } from "sip.js/lib/core/index.js";
import { ATTRIBUTES_HEADER, CLIENT_HEADER } from "../charging/charges/header-names.ts";
import { parseParams } from "../sip/params.ts";

/** What a rule of the relay says of the request, and of the client. */
export function attributesOf(message: IncomingRequestMessage) {
  const named = (header: string): Readonly<Record<string, string>> => {
    const params = parseParams(message.getHeader(header) ?? "");
    return params.ok ? Object.fromEntries(params.value) : {};
  };
  return { attributes: named(ATTRIBUTES_HEADER), client: named(CLIENT_HEADER) };
}
