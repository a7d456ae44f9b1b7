import { execFile } from "node:child_process";
import { createSocket } from "node:dgram";
import { Resolver } from "node:dns/promises";
import { existsSync, readFileSync, statfsSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { networkInterfaces } from "node:os";
import { dirname } from "node:path";
import { promisify } from "node:util";
import { getHeapStatistics } from "node:v8";
import type { Config } from "../../config/schema.ts";
import { askControl, controlPath } from "../../console/control.ts";
import { Rtpengines } from "../../media/ng.ts";
import { isV6 } from "../../support/address.ts";
import { systemClock } from "../../support/clock.ts";
import { createLogger } from "../../support/logger.ts";
import { systemRandom } from "../../support/random.ts";
import { withStore } from "../context.ts";
import type { Surroundings } from "./types.ts";

const DNS_TIMEOUT_MS = 1_500;
const PROGRAM_TIMEOUT_MS = 3_000;
const SERVER_TIMEOUT_MS = 5_000;

/** The machine that the command runs on. `dnsServers`: who is asked; default: as the system says. */
export function thisMachine(config: Config, dnsServers: readonly string[] | undefined): Surroundings {
  const dns = new Resolver({ timeout: DNS_TIMEOUT_MS, tries: 1 });
  if (dnsServers) dns.setServers(dnsServers);
  return {
    config,
    dns,
    now: () => Date.now(),
    listens,
    relayRuns: async () => (await askControl(controlPath(config.data), "GET", "/v1/me")).ok,
    run: async (program, args) =>
      promisify(execFile)(program, [...args], { timeout: PROGRAM_TIMEOUT_MS }).then(
        ({ stdout }) => stdout,
        () => undefined,
      ),
    read: (path) => {
      try {
        return readFileSync(path, "utf8");
      } catch {
        return undefined;
      }
    },
    modeOf: (path) => statSync(path, { throwIfNoEntry: false })?.mode,
    addresses: () => Object.values(networkInterfaces()).flatMap((all) => all?.map(({ address }) => address) ?? []),
    freeBytes: (path) => {
      let at = path;
      while (!existsSync(at) && dirname(at) !== at) at = dirname(at);
      const { bavail, bsize } = statfsSync(at);
      return bavail * bsize;
    },
    heapBytes: getHeapStatistics().heap_size_limit,
    pings: (place) =>
      new Promise((resolve) => {
        const { retryS, timeoutMs } = config.media;
        const log = createLogger({ level: "silent", pretty: false });
        const parts = { clock: systemClock, random: systemRandom, log };
        const asked = new Rtpengines({ ...parts, engines: [place], timeoutMs, retryMs: retryS * 1000 });
        asked.all[0]!.ask("ping", {}, (answer) => {
          asked.close();
          resolve(answer.ok ? undefined : answer.why);
        });
      }),
    openBus: async () => {
      if (config.bus) await (await import("../../bus/probe.ts")).probeNats(config.bus, SERVER_TIMEOUT_MS);
    },
    openStore: async () => {
      if (config.store) {
        const { probeMongo } = await import("../../store/probe.ts");
        return { differenceMs: await probeMongo(config.store, SERVER_TIMEOUT_MS / 1_000) };
      }
      // Looking must not make a data folder where there is none.
      if (existsSync(config.data)) await withStore(config, async () => undefined);
      return { differenceMs: undefined };
    },
  };
}

async function listens(transport: "udp" | "tcp", address: string, port: number): Promise<string | undefined> {
  const failed = (error: NodeJS.ErrnoException) => error.code ?? error.message;
  if (transport === "udp")
    return new Promise((resolve) => {
      const socket = createSocket({ type: isV6(address) ? "udp6" : "udp4", ipv6Only: isV6(address) });
      socket.once("error", (error) => resolve(failed(error)));
      socket.bind({ address, port }, () => socket.close(() => resolve(undefined)));
    });
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", (error) => resolve(failed(error)));
    server.listen({ host: address, port, ipv6Only: true }, () => server.close(() => resolve(undefined)));
  });
}
