import { z } from "zod";
import { isCurrency } from "../charging/money/currency.ts";
import { isNetwork } from "../support/networks.ts";

/* What several sections of a configuration are made of. */

/** Ids of services, app servers, tariffs: they stand in URIs, file names and reports. */
const ID = /^[A-Za-z0-9][A-Za-z0-9._~+-]{0,63}$/;

export const idSchema = z
  .string()
  .regex(ID, "an id of letters, digits and . _ ~ + - (at most 64, a letter or digit first)");

/**
 * A user's name is the user part of a SIP URI, unescaped (RFC 3261 §25.1). `:` would end the user in
 * H(user:realm:password). It is the user's id, unless the domain has users of its own (src/directory/realms.ts).
 */
export const userNameSchema = z
  .string()
  .regex(
    /^[A-Za-z0-9\-_.!~*'()&=+$,;?/]{1,64}$/,
    "a user id as in sip:alice@portal.example: letters, digits and - _ . ! ~ * ' ( ) & = + $ , ; ? / (at most 64)",
  );

export const currency = z.string().refine(isCurrency, "an ISO 4217 currency code such as EUR");

export const domain = z
  .string()
  .regex(/^[A-Za-z0-9._-]+$|^\[?[0-9A-Fa-f:.]+\]?$/, "a host name or IP address such as portal.example");

export const seconds = (least: number, most: number) => z.number().min(least).max(most);

/** A month. Nobody needs to charge later than that. */
export const MAX_WINDOW_S = 2_678_400;

/** The longest that running sessions may have to end by themselves when the relay stops. */
export const MAX_DRAIN_S = 86_400;

export const networksSchema = z.array(z.string().refine(isNetwork, "an IP address or a network such as 10.0.0.0/8"));
