import type { Flow } from "../../transport/types.ts";
import type { Core } from "../model/core.ts";

/**
 * Why a request that was sent `forMs` ago has no answer, as far as the relay can tell. The text must make people look
 * at the right end of the wire. `flow` is the way that the request took; undefined: it has not left yet.
 */
export function whySilent(core: Core, flow: Flow | undefined, forMs: number): string {
  const seconds = `${Math.round(forMs / 100) / 10} s`;
  if (flow === undefined) return `its address was not found within ${seconds}`;
  if (!flow.open) return `the connection to it was lost`;
  const since = core.clock.monotonic() - forMs;
  const dropped = core.transport.dropped?.since(flow.remoteAddress, since);
  if (dropped !== undefined) return `no answer within ${seconds} that could be used; ${dropped}`;
  return `nothing came from ${flow.remoteAddress} that answers the request, within ${seconds}`;
}
