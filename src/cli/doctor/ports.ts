import { formatHost } from "../../support/address.ts";
import { type Finding, ok, problem, type Surroundings, warning } from "./types.ts";

const WHAT_TO_DO: Readonly<Record<string, (port: number) => string>> = {
  EADDRINUSE: (port) =>
    `another program has it: ss -lnptu 'sport = :${port}' says which; stop it, or take another port in listen`,
  EADDRNOTAVAIL: () =>
    "this machine has no such address: ip addr says which it has; behind a NAT, listen on its own address and set advertised",
  EACCES: (port) =>
    `only root may listen there: setcap cap_net_bind_service=+ep on node, AmbientCapabilities in the systemd unit, or a port above 1023 instead of ${port}`,
};

/** Whether the relay can listen where it is to. */
export async function ports(world: Surroundings): Promise<Finding[]> {
  const { config } = world;
  const runs = await world.relayRuns();
  const wanted = [
    ...config.listen.map(({ transport, address, port }) => ({ transport: transport as string, address, port })),
    ...(config.http.listen ? [{ transport: "http", ...config.http.listen }] : []),
  ].filter(({ port }) => port !== 0);
  const found: Finding[] = [];
  for (const { transport, address, port } of wanted) {
    const name = `${transport}:${formatHost(address)}:${port}`;
    const code = await world.listens(transport === "udp" ? "udp" : "tcp", address, port);
    if (code === undefined) found.push(runs ? notTaken(name) : ok(`${name} is free`));
    else if (code === "EADDRINUSE" && runs) found.push(ok(`${name} is taken, and the relay runs`));
    else found.push(problem(`${name}: ${code}`, WHAT_TO_DO[code]?.(port) ?? "listen on another address or port"));
  }
  return found;
}

const notTaken = (name: string) =>
  warning(`${name} is free, although the relay runs`, "it is starting; or listen has changed since: start it again");
