import type { ForkChoice, ForkMode } from "../../directory/types.ts";
import { parseRequestDisposition, type RequestDisposition } from "../../sip/disposition.ts";
import type { Headers } from "../../sip/message.ts";

/**
 * How the app servers are asked: as the operator says, or as the client wishes by Request-Disposition (RFC 3841 §9.1),
 * if the operator allows that way. A wish that cannot be read changes nothing, nor do `redirect`, `recurse` and
 * `queue`.
 */
export function forkFor(operator: ForkMode, allowed: readonly ForkChoice[] | undefined, headers: Headers): ForkChoice {
  if (!allowed || allowed.length === 0 || !headers.has("request-disposition")) return operator;
  const wish = parseRequestDisposition(headers.all("request-disposition"));
  const chosen = wish.ok ? wishedFork(operator, wish.value) : operator;
  return allowed.includes(chosen) ? chosen : operator;
}

function wishedFork(operator: ForkMode, { proxy, fork, parallel, cancel }: RequestDisposition): ForkChoice {
  // RFC 3841 §9.1: fork and parallel directives are ignored where `redirect` is asked for.
  if (proxy !== false) {
    if (fork === false) return "single";
    if (parallel === false) return "sequential";
  }
  const inParallel = operator !== "sequential" || (parallel === true && proxy !== false);
  if (!inParallel) return operator; // App servers that are asked one after the other need no CANCEL.
  if (cancel !== undefined) return cancel ? "first" : "all";
  return operator === "sequential" ? "first" : operator;
}
