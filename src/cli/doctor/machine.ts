import { defaultTransportBounds } from "../../transport/options.ts";
import { type Finding, ok, problem, type Surroundings, warning } from "./types.ts";

/** Sockets, files and pipes besides connections. */
const OTHER_FILES = 200;
/** What a session takes with its transactions, as the bench measures it, and what everything else takes. */
const BYTES_PER_CALL = 16_384;
const BASE_BYTES = 128 * 1024 * 1024;
const OTHERS = 0o077;
const CLOCK_WARN_MS = 1_000;

/** What the system lets a process have. */
export function limits(world: Surroundings): Finding[] {
  const { config } = world;
  const found: Finding[] = [];
  const open = /^Max open files\s+(\d+|unlimited)/m.exec(world.read("/proc/self/limits") ?? "")?.[1];
  if (open !== undefined) {
    const wanted = config.limits.connections + config.limits.connectionsOut + OTHER_FILES;
    const text = `open files: ${open}, for limits.connections and connectionsOut ${wanted}`;
    if (open === "unlimited" || Number(open) >= wanted) found.push(ok(text));
    else
      found.push(warning(text, `LimitNOFILE=${wanted} in the systemd unit, or ulimit -n ${wanted}, or smaller bounds`));
  }
  const buffer = Number(world.read("/proc/sys/net/core/rmem_max")?.trim());
  if (Number.isFinite(buffer) && config.listen.some(({ transport }) => transport === "udp")) {
    const wanted = defaultTransportBounds.receiveBufferBytes;
    const text = `receive buffer of UDP: ${buffer} bytes at most, ${wanted} wanted`;
    found.push(
      buffer >= wanted
        ? ok(text)
        : warning(text, `in a burst the kernel drops what does not fit: sysctl -w net.core.rmem_max=${wanted}`),
    );
  }
  const heap = BASE_BYTES + config.limits.calls * BYTES_PER_CALL;
  const text = `heap: ${mb(world.heapBytes)} MB at most, ${mb(heap)} MB for limits.calls (${config.limits.calls})`;
  found.push(
    world.heapBytes >= heap
      ? ok(text)
      : warning(text, `NODE_OPTIONS=--max-old-space-size=${mb(heap)}, or fewer limits.calls`),
  );
  return found;
}

const mb = (bytes: number): number => Math.ceil(bytes / 1_048_576);

/** The data folder and its disk, and files with secrets. */
export function files(world: Surroundings): Finding[] {
  const { data, journal, store, bus, tls, http, identity } = world.config;
  const found: Finding[] = [];
  const free = world.freeBytes(data);
  if (free !== undefined) {
    const text = `${mb(free)} MB free for ${data}`;
    const least = journal.minFreeDiskBytes + journal.maxBytes / 4;
    if (free < journal.minFreeDiskBytes)
      found.push(problem(text, "no new sessions below journal.minFreeDiskBytes: make room, or move the folder"));
    else found.push(free < least ? warning(text, "the journal may need more if NATS is away: make room") : ok(text));
  }
  const secrets = [
    ...[tls.key, http.tls?.key, identity?.key, http.metricsTokenFile, store?.passwordFile, bus?.passwordFile],
    ...[bus?.tokenFile, bus?.credentialsFile, bus?.nkeyFile, bus?.secretFile, bus?.acceptSecretFile],
  ].filter((path) => path !== undefined);
  for (const path of new Set(secrets)) {
    const mode = world.modeOf(path);
    if (mode === undefined)
      found.push(
        problem(`${path} is not there, or cannot be read`, "put it there, readable for the user of the relay"),
      );
    else if ((mode & OTHERS & 0o007) !== 0)
      found.push(warning(`${path} can be read by everybody on this machine`, `chmod o= ${path}`));
    else found.push(ok(`${path} is not for everybody`));
  }
  return found;
}

/** NATS, or the bus within the process. */
export async function bus(world: Surroundings): Promise<Finding[]> {
  const { bus: settings } = world.config;
  if (!settings) return [ok("in the process: this relay is alone")];
  const where = settings.servers.map((one) => one.replace(/\/\/[^@/]*@/, "//")).join(", ");
  const found: Finding[] = [];
  try {
    await world.openBus();
    found.push(ok(`NATS at ${where} answers, with JetStream`));
  } catch (error) {
    found.push(
      problem(
        `NATS at ${where}: ${(error as Error).message}`,
        "start it with JetStream (nats-server -js), or correct bus; calls wait in the journal meanwhile",
      ),
    );
  }
  if (settings.secretFile === undefined && !process.env.TOLLGATE_BUS_SECRET)
    found.push(
      warning(
        "events are not signed: whoever may publish can bill anybody",
        "set bus.secretFile on relays and billing workers",
      ),
    );
  return found;
}

/** MongoDB, or the embedded store; and how far this machine's clock is from others'. */
export async function storeAndClock(world: Surroundings): Promise<Finding[]> {
  const { store } = world.config;
  const found: Finding[] = [];
  let differenceMs: number | undefined;
  try {
    ({ differenceMs } = await world.openStore());
    found.push(ok(store ? "MongoDB answers" : `the embedded store in ${world.config.data} can be opened`));
  } catch (error) {
    found.push(
      problem(
        `the store: ${(error as Error).message}`,
        store ? "start MongoDB, or correct store" : "the user of the relay must own the data folder",
      ),
    );
  }
  found.push(await clock(world, differenceMs));
  return found;
}

async function clock(world: Surroundings, differenceMs: number | undefined): Promise<Finding> {
  const ntp = "let NTP set the clock (chrony, systemd-timesyncd): bills, nonces and certificates go by it";
  const chrony = await world.run("chronyc", ["-c", "tracking"]);
  const offset = Number(chrony?.split(",")[4]);
  const leap = chrony?.trim().split(",").at(-1);
  if (chrony !== undefined && Number.isFinite(offset) && leap !== "Not synchronised") {
    const text = `the clock is ${(offset * 1_000).toFixed(1)} ms from NTP's, says chrony`;
    return Math.abs(offset) * 1_000 < CLOCK_WARN_MS ? ok(text) : warning(text, ntp);
  }
  const synchronized = (await world.run("timedatectl", ["show", "-p", "NTPSynchronized", "--value"]))?.trim();
  if (differenceMs !== undefined) {
    const text = `the clock is ${differenceMs} ms from the store's server`;
    if (Math.abs(differenceMs) >= CLOCK_WARN_MS) return warning(text, ntp);
    return ok(synchronized === "yes" ? `${text}, and set by NTP` : text);
  }
  if (synchronized === "yes") return ok("the clock is set by NTP, says timedatectl");
  if (synchronized === "no" || leap === "Not synchronised") return warning("the clock is not set by NTP", ntp);
  return warning(
    "nothing here says whether the clock is right (no chronyc, no timedatectl, no server to compare with)",
    ntp,
  );
}
