import { fork } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { fileURLToPath } from "node:url";
import { WebSocket } from "ws";
import { responseTo } from "../../src/sip/response.ts";
import { serialize } from "../../src/sip/serialize.ts";
import { systemClock } from "../../src/support/clock.ts";
import { isOpenTransport, OPEN_TRANSPORTS, type TransportName } from "../../src/transport/kinds.ts";
import { createTransportLayer } from "../../src/transport/layer.ts";
import { certificateFolder } from "../support/certificates.ts";

/*
 * What each transport costs: microseconds of one core for an exchange (a request of 600 bytes and its answer), for a new connection, and the memory
 * of one that stands. `npm run bench:transports`. The side that is measured is a process of its own,
 * which has the transport layer alone.
 */

const EXCHANGES = 20_000;
const CONNECTIONS = 400;
const BODY = "x".repeat(300);

interface Figures {
  readonly cpuUs: number;
  readonly rss: number;
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
    process.send?.({ cpuUs: user + system, rss: process.memoryUsage().rss });
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

async function measure(transport: TransportName): Promise<string> {
  const child = fork(fileURLToPath(import.meta.url), [transport], { execArgv: ["--expose-gc"] });
  const [port] = (await once(child, "message")) as [number];
  const now = async (): Promise<Figures> => {
    child.send("now");
    return (await once(child, "message"))[0] as Figures;
  };
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
  child.kill();
  const exchangeUs = (after.cpuUs - before.cpuUs) / EXCHANGES;
  const perConnection = (of: (figures: Figures) => number) => (of(held) - of(after)) / CONNECTIONS;
  const connection =
    transport === "udp"
      ? ""
      : `, ${perConnection(({ cpuUs }) => cpuUs).toFixed(0)} µs a new connection, ${(perConnection(({ rss }) => rss) / 1_000).toFixed(1)} kB each`;
  return `${transport.padEnd(4)} ${exchangeUs.toFixed(1).padStart(6)} µs an exchange${connection}`;
}

const [of] = process.argv.slice(2);
if (of !== undefined && isOpenTransport(of)) await serve(of);
else for (const transport of OPEN_TRANSPORTS) console.log(await measure(transport));
