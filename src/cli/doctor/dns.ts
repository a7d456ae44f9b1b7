import { isIp } from "../../config/listen.ts";
import { canonicalAddress, canonicalHost } from "../../support/address.ts";
import { KINDS } from "../../transport/kinds.ts";
import { addressesOf } from "./reach.ts";
import { type Finding, ok, problem, type Surroundings, warning } from "./types.ts";

/** RFC 3263, RFC 7118: whether clients that know only the domain find the listeners. */
export async function dns(world: Surroundings): Promise<Finding[]> {
  const names = world.config.portal.domains.filter((name) => !isIp(canonicalHost(name)) && name !== "localhost");
  if (names.length === 0) return [ok("the portal has no domain name: clients have to be told its address")];
  return (await Promise.all(names.map((name) => ofDomain(world, name)))).flat();
}

async function ofDomain(world: Surroundings, domain: string): Promise<Finding[]> {
  const { listen } = world.config;
  const own = await addressesOf(world, domain);
  const naptr = await world.dns.resolveNaptr(domain).catch(() => []);
  const found: Finding[] = [];
  let records = 0;
  for (const transport of new Set(listen.map((one) => one.transport))) {
    const { srv, naptr: service } = KINDS[transport];
    const entry = naptr.find((one) => one.service.toUpperCase() === service);
    const name = entry?.replacement ?? `${srv}.${domain}`;
    const servers = await world.dns.resolveSrv(name).catch(() => []);
    if (servers.length === 0) {
      if (entry)
        found.push(
          problem(
            `NAPTR of ${domain} leads to ${name}, which has no SRV record`,
            `add one, or take the NAPTR record for ${service} out`,
          ),
        );
      continue;
    }
    records++;
    found.push(...(await ofServers(world, transport, name, servers)));
  }
  const first = listen[0]!;
  const shown = first.advertised?.host ?? first.address;
  const record = `${KINDS[first.transport].srv}.${domain}. SRV 10 0 ${first.advertised?.port ?? first.port} sip.${domain}.`;
  if (own.length === 0 && records === 0)
    found.push(
      problem(
        `${domain} has neither SRV nor address records: clients that know only the domain do not find it`,
        `add ${domain}. A ${isIp(shown) ? shown : "..."}, or ${record}`,
      ),
    );
  else if (records === 0) {
    found.push(ofAddresses(world, `${domain} (A, AAAA)`, own));
    const odd = listen.filter(
      ({ transport, port, advertised }) => (advertised?.port ?? port) !== KINDS[transport].port,
    );
    if (odd.length > 0)
      found.push(
        warning(
          `${domain} has no SRV records, and ${odd.map(({ transport, port }) => `${transport} listens on ${port}`).join(", ")}`,
          `clients try the usual ports: add ${record}`,
        ),
      );
  }
  if (records > 0 && naptr.length === 0)
    found.push(ok(`${domain} has no NAPTR records: clients choose the transport themselves (RFC 3263 §4.1)`));
  return found;
}

async function ofServers(
  world: Surroundings,
  transport: string,
  name: string,
  servers: readonly { readonly name: string; readonly port: number }[],
): Promise<Finding[]> {
  const ports = new Set(
    world.config.listen
      .filter((one) => one.transport === transport)
      .map(({ port, advertised }) => advertised?.port ?? port),
  );
  const found: Finding[] = [];
  for (const server of servers) {
    const text = `${name} leads to ${server.name}:${server.port}`;
    const addresses = await addressesOf(world, server.name);
    if (addresses.length === 0)
      found.push(problem(`${text}, which has no address`, `give ${server.name} an A or AAAA record`));
    else if (!ports.has(server.port))
      found.push(
        warning(
          `${text}, but ${transport} listens on ${[...ports].join(", ")}`,
          "correct the port in the SRV record or in listen, unless another machine stands there",
        ),
      );
    else found.push(ofAddresses(world, text, addresses));
  }
  return found;
}

/** Whether addresses are this machine's, or advertised. Those of a proxy or of another node are not. */
function ofAddresses(world: Surroundings, text: string, addresses: readonly string[]): Finding {
  const advertised = world.config.listen.flatMap((one) => (one.advertised ? [canonicalHost(one.advertised.host)] : []));
  const own = new Set([...world.addresses(), ...advertised]);
  const others = addresses.filter((one) => !own.has(canonicalAddress(one) ?? one));
  if (others.length === 0) return ok(`${text}: ${addresses.join(", ")}`);
  return warning(
    `${text}: ${others.join(", ")}, which is not this machine's and not advertised`,
    "right if a proxy or another node stands there; behind a NAT, set advertised",
  );
}
