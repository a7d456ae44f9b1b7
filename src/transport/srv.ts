import type { Random } from "../support/random.ts";
import type { Destination, TransportName } from "./types.ts";

/** A server behind a name. The addresses of one SRV record share its place in the order. */
export interface Server {
  readonly transport: TransportName;
  readonly port: number;
  readonly addresses: readonly string[];
  /** The domain's preference among transports, which comes before the order of RFC 2782. */
  readonly rank: number;
  readonly priority: number;
  readonly weight: number;
}

/**
 * All addresses in the order in which they are to be tried: by rank and priority, and within these drawn by weight
 * (RFC 2782).
 */
export function orderServers(servers: readonly Server[], random: Random): Destination[] {
  const sorted = [...servers].sort((a, b) => a.rank - b.rank || a.priority - b.priority);
  const destinations: Destination[] = [];
  for (let start = 0; start < sorted.length; ) {
    const first = sorted[start]!;
    let end = start + 1;
    while (end < sorted.length && sorted[end]!.rank === first.rank && sorted[end]!.priority === first.priority) end++;
    for (const { transport, port, addresses } of draw(sorted.slice(start, end), random))
      for (const address of addresses) destinations.push({ transport, address, port });
    start = end;
  }
  return destinations;
}

/**
 * RFC 2782, "Weight": the servers are drawn one by one. The chance of each is its share of the weights that are left.
 */
function draw(servers: Server[], random: Random): Server[] {
  if (servers.length < 2) return servers;
  // Servers of weight 0 come first, which gives them a small chance.
  const left = servers.sort((a, b) => Number(a.weight !== 0) - Number(b.weight !== 0));
  const drawn: Server[] = [];
  while (left.length > 0) {
    const total = left.reduce((sum, server) => sum + server.weight, 0);
    const mark = Math.floor(fraction(random) * (total + 1));
    let sum = 0;
    const at = left.findIndex((server) => {
      sum += server.weight;
      return sum >= mark;
    });
    drawn.push(...left.splice(at, 1));
  }
  return drawn;
}

/** A number from 0 up to but not including 1, out of a random token. */
function fraction(random: Random): number {
  const steps = 1_000_003;
  let value = 0;
  for (const digit of random.token(48).slice(0, 10)) value = (value * 36 + Number.parseInt(digit, 36)) % steps;
  return value / steps;
}
