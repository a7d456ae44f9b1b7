import { z } from "zod";

/*
 * Header fields that an operator lets cross the relay, in addition to those that always do
 * (src/relay/dialog/border.ts).
 */

/**
 * Header fields of one leg alone: its path, its dialog, its own abilities and secrets; and the relay's word on who
 * calls. No setting lets them cross. The same holds for any name that begins like the relay's own.
 */
const OWN: ReadonlySet<string> = new Set(
  `via route record-route from to call-id cseq contact max-forwards max-breadth content-length supported require proxy-require rseq rack
 allow recv-info authorization proxy-authorization p-asserted-identity p-preferred-identity identity identity-info replaces join
 target-dialog refer-to refer-sub referred-by`.split(/\s+/),
);
const OWN_PREFIXES = ["tollgate-", "x-tollgate"];

/**
 * Whether the relay itself writes that header field in each leg, whatever an operator lets pass. `key`: the long form,
 * in lower case.
 */
export const isOwnHeader = (key: string): boolean =>
  OWN.has(key) || OWN_PREFIXES.some((prefix) => key.startsWith(prefix));

/** A header field by its long name, or all that begin so: `P-Charging-Vector`, `X-*`. */
const crossingHeader = z
  .string()
  .regex(
    /^[A-Za-z0-9.!%_+`'~-]{2,64}\*?$/,
    "the name of a header field such as P-Charging-Vector, or how several begin: X-*",
  )
  .refine(
    (name) => !isOwnHeader(name.toLowerCase()),
    "a header field that the relay does not write itself in each leg",
  );

export const headersSchema = z.strictObject({
  fromClients: z.array(crossingHeader).max(100).default(["X-*"]),
  toClients: z.array(crossingHeader).max(100).default(["X-*"]),
});
