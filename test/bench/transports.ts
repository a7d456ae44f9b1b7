import { fork } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { fileURLToPath } from "node:url";
import { WebSocket } from "ws";
import { responseTo } from "../../src/sip/response.ts";
import { serialize } from "../../src/sip/serialize.ts";
import { systemClock } from "../../src/support/clock.ts";
import { isOpenTransport, OPEN_TRANSPORTS, type TransportName } from "../../src/transport/kinds.ts";
import { createTransportLayer } from "../../src/transport/layer.ts";
import { certificateFolder } from "../support/certificates.ts";
import { freePort, listens, start } from "../support/peers.ts";
import { ROOT } from "../support/project.ts";
import { cpuUs, family, memoryBytes } from "./proc.ts";
import { withoutKamailio } from "./systems.ts";

/*
 * What each transport costs: microseconds of one core for an exchange (a request of 600 bytes and its answer) and for a
 * new connection, and the memory of one that stands. `npm run bench:transports`. The side that is measured is a process
 * of its own, which has the transport layer alone. Beside it stands Kamailio, which answers by a stateless reply.
 */

const EXCHANGES = 20_000;
const CONNECTIONS = 400;
const BODY = "x".repeat(300);

interface Figures {
  readonly cpuUs: number;
  readonly memory: number;
}

/** Whose exchanges are measured. */
interface Server {
  readonly name: string;
  readonly port: number;
  now(): Promise<Figures>;
  stop(): Promise<void>;
}

async function serve(transport: TransportName): Promise<void> {
  const files = certificateFolder(["DNS:localhost"]);
  const layer = createTransportLayer({
    listen: [{ transport, address: "127.0.0.1", port: 0 }],
    tls: { cert: files.cert, key: files.key },
    clock: systemClock,
    user: {
      received: (message, flow) => {
        if (message.isRequest) flow.send(serialize(responseTo(message, 200, "OK", "tag")));
      },
      malformed: () => {},
      flowFailed: () => {},
    },
  });
  await layer.start();
  const gc = (globalThis as { gc?: () => void }).gc;
  process.on("message", () => {
    gc?.();
    const { user, system } = process.cpuUsage();
    process.send?.({ cpuUs: user + system, memory: memoryBytes([process.pid]) });
  });
  process.send?.(layer.listening[0]!.port);
}

interface Line {
  send(bytes: Buffer): void;
  close(): void;
}

async function dial(transport: TransportName, port: number, came: () => void): Promise<Line> {
  if (transport === "udp") {
    const socket = createSocket("udp4");
    socket.on("message", came);
    return { send: (bytes) => socket.send(bytes, port, "127.0.0.1"), close: () => socket.close() };
  }
  if (transport === "ws" || transport === "wss") {
    const socket = new WebSocket(`${transport}://127.0.0.1:${port}/`, "sip", { rejectUnauthorized: false });
    socket.on("message", came);
    await once(socket, "open");
    return { send: (bytes) => socket.send(bytes, { binary: false }), close: () => socket.terminate() };
  }
  const socket: Socket =
    transport === "tls"
      ? connectTls({ port, host: "127.0.0.1", rejectUnauthorized: false })
      : connect(port, "127.0.0.1");
  socket.setNoDelay(true);
  socket.on("data", came); // one answer at a time is under way
  await once(socket, transport === "tls" ? "secureConnect" : "connect");
  return { send: (bytes) => socket.write(bytes), close: () => socket.destroy() };
}

const request = (transport: TransportName, i: number): Buffer =>
  Buffer.from(
    [
      "OPTIONS sip:wine@portal.example SIP/2.0",
      `Via: SIP/2.0/${transport.toUpperCase()} 127.0.0.1:9;rport;branch=z9hG4bK${i}`,
      "Max-Forwards: 70",
      "From: <sip:alice@portal.example>;tag=1",
      "To: <sip:wine@portal.example>",
      `Call-ID: ${i}@bench`,
      "CSeq: 1 OPTIONS",
      `Content-Length: ${BODY.length}`,
      "",
      BODY,
    ].join("\r\n"),
  );

async function tollgate(transport: TransportName): Promise<Server> {
  const child = fork(fileURLToPath(import.meta.url), [transport], { execArgv: ["--expose-gc"] });
  const [port] = (await once(child, "message")) as [number];
  return {
    name: "tollgate",
    port,
    async now() {
      child.send("now");
      return (await once(child, "message"))[0] as Figures;
    },
    async stop() {
      const gone = once(child, "exit");
      child.kill();
      await gone;
    },
  };
}

const MODULES = ["tls", "websocket", "xhttp"];

/** Why Kamailio cannot be measured here; undefined: it can. */
function withoutModules(): string | undefined {
  const folders = existsSync("/usr/lib")
    ? readdirSync("/usr/lib").map((name) => `/usr/lib/${name}/kamailio/modules`)
    : [];
  const has = (name: string) => folders.some((folder) => existsSync(join(folder, `${name}.so`)));
  const missing =
    withoutKamailio() ??
    (MODULES.every(has) ? undefined : "kamailio-tls-modules or kamailio-websocket-modules is not installed");
  return missing;
}

async function kamailio(transport: TransportName): Promise<Server> {
  const folder = mkdtempSync(join(tmpdir(), "tollgate-kamailio-"));
  const files = certificateFolder(["DNS:localhost"]);
  const port = await freePort();
  const scheme = { udp: "udp", tcp: "tcp", ws: "tcp", tls: "tls", wss: "tls" }[transport as "udp"];
  const peer = await start(
    "kamailio",
    "kamailio",
    [
      ...["-f", join(ROOT, "ops/bench/kamailio-transports.cfg"), ..."-x fm -X fm -DD -E -m 512 -M 16 -n 1".split(" ")],
      ...["-Y", folder, "-w", folder, "-l", `${scheme}:127.0.0.1:${port}`],
      ...["-A", `CERT="${files.cert}"`, "-A", `KEY="${files.key}"`],
    ],
    { cwd: folder, env: { PATH: `${process.env.PATH}:/usr/sbin` } },
  );
  await listens(peer, scheme === "udp" ? "udp" : "tcp", port);
  const pids = () => family(peer.pid); // it has its workers only some time after it listens
  return {
    name: "kamailio",
    port,
    now: async () => ({ cpuUs: cpuUs(pids()), memory: memoryBytes(pids()) }),
    async stop() {
      await peer.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function measure(server: Server, transport: TransportName): Promise<string> {
  const { port } = server;
  const now = () => server.now();
  let came = () => {};
  const line = await dial(transport, port, () => came());
  const exchange = (i: number) =>
    new Promise<void>((resolve) => {
      came = resolve;
      line.send(request(transport, i));
    });
  for (let i = 0; i < EXCHANGES / 4; i++) await exchange(i); // the compiler has then seen the code
  const before = await now();
  for (let i = 0; i < EXCHANGES; i++) await exchange(i);
  const after = await now();
  const lines: Line[] = [];
  for (let i = 0; i < CONNECTIONS && transport !== "udp"; i++) lines.push(await dial(transport, port, () => {}));
  const held = await now();
  for (const one of [line, ...lines]) one.close();
  await server.stop();
  const exchangeUs = (after.cpuUs - before.cpuUs) / EXCHANGES;
  const perConnection = (of: (figures: Figures) => number) => (of(held) - of(after)) / CONNECTIONS;
  const perNew = perConnection(({ cpuUs: us }) => us).toFixed(0);
  const each = (perConnection(({ memory }) => memory) / 1_000).toFixed(1);
  const connection = transport === "udp" ? ["", ""] : [perNew, each];
  return `| ${[server.name, transport, exchangeUs.toFixed(1), ...connection].join(" | ")} |`;
}

async function all(): Promise<void> {
  const missing = withoutModules();
  if (missing !== undefined) console.error(missing);
  console.log("| system | transport | µs an exchange | µs a new connection | kB a connection |\n|---|---|---|---|---|");
  for (const transport of OPEN_TRANSPORTS)
    for (const begin of missing === undefined ? [tollgate, kamailio] : [tollgate])
      console.log(await measure(await begin(transport), transport));
}

const [of] = process.argv.slice(2);
if (of !== undefined && isOpenTransport(of)) await serve(of);
else await all();
