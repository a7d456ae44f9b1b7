import { isIp } from "../../config/listen.ts";
import { sipUriOf } from "../../sip/uri.ts";
import { canonicalAddress, formatHost, isLoopback, isV6 } from "../../support/address.ts";
import { Networks } from "../../support/networks.ts";
import { admitsBy } from "../../transport/access.ts";
import { type Finding, ok, problem, type Surroundings, warning } from "./types.ts";

/** RFC 1918, RFC 6598, RFC 3927, RFC 4193, RFC 4291 §2.5.6. */
const PRIVATE = new Networks([
  ...["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16"],
  ...["fc00::/7", "fe80::/10"],
]);

const NAME_TIMES_OUT = "it does not lead anywhere (DNS)";

/** Whether clients can reach what Via and Contact say. */
export async function reach(world: Surroundings): Promise<Finding[]> {
  const found: Finding[] = [];
  for (const { transport, address, port, advertised } of world.config.listen) {
    const shown = advertised?.host ?? address;
    const name = `${transport}: clients are told ${formatHost(shown)}:${advertised?.port ?? port}`;
    if (!isIp(shown)) {
      const addresses = await addressesOf(world, shown);
      found.push(
        addresses.length > 0
          ? ofAddress(world, name, addresses[0]!, true)
          : problem(`${name}: ${NAME_TIMES_OUT}`, `give ${shown} an A or AAAA record, or advertise an address`),
      );
    } else found.push(ofAddress(world, name, shown, advertised !== undefined));
  }
  return found;
}

function ofAddress(world: Surroundings, name: string, written: string, advertised: boolean): Finding {
  const address = canonicalAddress(written) ?? written;
  if (address === "0.0.0.0" || address === "::") {
    if (advertised) return problem(`${name}, which is no address`, "advertise one that clients can reach");
    const own = world.addresses().filter((one) => isV6(one) === isV6(address) && !isLoopback(one));
    const open = own.filter((one) => !PRIVATE.includes(one));
    if (own.length === 0) return warning(`${name}: this machine has only loopback`, "clients elsewhere cannot come");
    if (open.length > 0) return ok(`${name}: the address that they see, ${own.join(", ")}`);
    return warning(
      `${name}: this machine has private addresses alone (${own.join(", ")})`,
      "right for clients in that network; others need the public address in advertised",
    );
  }
  if (isLoopback(address))
    return warning(
      `${name}: this machine alone`,
      "right for trying out and behind a proxy on this machine; else listen on another address",
    );
  if (PRIVATE.includes(address))
    return warning(
      `${name}, which is a private address`,
      "right for clients in that network; others need the public address in advertised",
    );
  if (!advertised && !world.addresses().includes(address))
    return problem(`${name}, which this machine does not have`, "see ports");
  return ok(name);
}

/** App servers: whether their names lead anywhere, and whether what they send by UDP is let in. */
export async function appServers(world: Surroundings): Promise<Finding[]> {
  const { appServers: all, listen } = world.config;
  const udp = listen.filter(({ transport }) => transport === "udp").map(admitsBy);
  const found: Finding[] = [];
  for (const { id, uri } of all) {
    const read = sipUriOf(uri);
    if (!read) continue;
    const host = read.host;
    const addresses = isIp(host) ? [host] : await addressesOf(world, host);
    const byName = isIp(host) || addresses.length > 0 ? addresses : await behindSrv(world, host);
    const isUdp = (read.params.get("transport") ?? "udp").toLowerCase() === "udp" && read.scheme === "sip";
    const shut = isUdp && udp.length > 0 ? byName.filter((one) => udp.every((admits) => admits?.(one) === false)) : [];
    if (byName.length === 0)
      found.push(
        problem(
          `${id}: ${host} leads nowhere (DNS)`,
          `give it an A, AAAA or SRV record, or an address in the uri of ${id}`,
        ),
      );
    else if (shut.length > 0)
      found.push(
        problem(
          `${id}: no udp listener lets ${shut.join(", ")} in, so its answers are dropped`,
          "add it to allow, or take it out of deny",
        ),
      );
    else found.push(ok(`${id}: ${uri}`));
  }
  return found.length > 0 ? found : [ok("none stands in the file; tollgate appserver list has those of the store")];
}

/** Media relays: whether each answers. */
export async function rtpengines({ config, pings }: Surroundings): Promise<Finding[]> {
  const asked = config.media.rtpengines.map(async (place) => {
    const name = `rtpengine ${formatHost(place.host)}:${place.port}`;
    const why = await pings(place);
    return why === undefined
      ? ok(`${name} answers`)
      : problem(`${name}: ${why}`, "see whether it runs, and whether its listen-ng lets this machine in");
  });
  return asked.length > 0 ? Promise.all(asked) : [ok("none is in use")];
}

async function behindSrv(world: Surroundings, host: string): Promise<readonly string[]> {
  for (const prefix of ["_sip._udp.", "_sip._tcp.", "_sips._tcp."]) {
    const [first] = await world.dns.resolveSrv(prefix + host).catch(() => []);
    if (first) return addressesOf(world, first.name);
  }
  return [];
}

/** The addresses of a name, of both families; none if it has none. */
export async function addressesOf({ dns }: Surroundings, name: string): Promise<readonly string[]> {
  if (name === "localhost") return ["127.0.0.1"];
  const [four, six] = await Promise.all([dns.resolve4(name).catch(() => []), dns.resolve6(name).catch(() => [])]);
  return [...four, ...six];
}
