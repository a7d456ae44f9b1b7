import { fork } from "node:child_process";
import { once } from "node:events";
import { connect, type TLSSocket } from "node:tls";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { certificateFolder } from "../support/certificates.ts";
import { freePort } from "../support/peers.ts";
import { startRelayProcess } from "../support/relay-process.ts";
import { type Called, SERVICE } from "./load.ts";
import { nodeLoad } from "./node-load.ts";

/*
 * A reconnect storm: 10,000 clients lose their TLS connections at once and come back, while others call. `npm run
 * bench:storm`. It says how long it took them, and what became of the calls meanwhile.
 *
 * Each client connects within a second. If it is closed or gets no answer, it tries again after 1 to 5 s (RFC 5626 §4.5
 * would have it wait longer). It is back when an OPTIONS was answered.
 */

interface Back {
  readonly seconds: readonly number[];
  readonly tries: number;
}

const RETRY_MS = [1_000, 5_000] as const;
const PATIENCE_MS = 10_000;

async function storm(port: number, clients: number): Promise<void> {
  const startedAt = performance.now();
  const seconds: number[] = [];
  let tries = 0;
  let done = () => {};
  const all = new Promise<void>((resolve) => {
    done = resolve;
  });
  const come = (i: number) => {
    tries++;
    const socket: TLSSocket = connect({ port, host: "127.0.0.1", rejectUnauthorized: false });
    let isBack = false;
    const again = setTimeout(() => socket.destroy(), PATIENCE_MS);
    socket.on("error", () => undefined);
    socket.once("secureConnect", () => socket.write(options(i)));
    socket.once("data", () => {
      isBack = true;
      clearTimeout(again);
      seconds.push((performance.now() - startedAt) / 1_000);
      if (seconds.length === clients) done();
    });
    socket.once("close", () => {
      clearTimeout(again);
      if (!isBack) setTimeout(come, RETRY_MS[0] + Math.random() * (RETRY_MS[1] - RETRY_MS[0]), i);
    });
  };
  for (let i = 0; i < clients; i++) setTimeout(come, (i / clients) * 1_000, i);
  process.once("disconnect", () => process.exit());
  await all;
  process.send?.({ seconds, tries } satisfies Back);
}

const options = (i: number): string =>
  [
    "OPTIONS sip:portal.example SIP/2.0",
    `Via: SIP/2.0/TLS 127.0.0.1:9;rport;branch=z9hG4bK${i}`,
    "Max-Forwards: 70",
    `From: <sip:${i}@portal.example>;tag=1`,
    "To: <sip:portal.example>",
    `Call-ID: ${i}@storm`,
    "CSeq: 1 OPTIONS",
    "Content-Length: 0",
    "",
    "",
  ].join("\r\n");

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      clients: { type: "string", default: "10000" },
      rate: { type: "string", default: "50" },
      seconds: { type: "string", default: "45" },
      /** Handshakes in a second; 0: no bound. */
      handshakes: { type: "string" },
    },
  });
  const [clients, rate, seconds] = [Number(values.clients), Number(values.rate), Number(values.seconds)];
  const [appServerPort, tlsPort, port] = [await freePort(), await freePort(), await freePort()];
  const files = certificateFolder(["DNS:localhost"]);
  const relay = await startRelayProcess({
    appServers: [{ id: "server", port: appServerPort, services: [SERVICE] }],
    config: {
      listen: [`udp:127.0.0.1:${port}`, `tcp:127.0.0.1:${port}`, `tls:127.0.0.1:${tlsPort}`],
      tls: { cert: files.cert, key: files.key },
      limits: {
        perSourcePerSecond: 0,
        connectionsPerSource: 2 * clients,
        ...(values.handshakes !== undefined && { handshakesPerSecond: Number(values.handshakes) }),
      },
      drainS: 1,
    },
  });
  const load = await nodeLoad();
  const answering = await load.answering(appServerPort, false);
  try {
    const calls = { port, rate, holdMs: 500, latencies: true };
    const calling = async (forSeconds: number) => (await load.calling({ ...calls, calls: rate * forSeconds })).done;
    await calling(5); // until the JIT compiler has seen it
    console.log(`calls, ${rate} a second, before: ${shown(await calling(10))}`);
    const child = fork(fileURLToPath(import.meta.url), ["come", String(tlsPort), String(clients)]);
    const back = once(child, "message").then(([said]) => said as Back);
    const during = await calling(seconds);
    const came = await Promise.race([
      back,
      new Promise<undefined>((resolve) => setTimeout(resolve, 60_000, undefined)),
    ]);
    console.log(`calls, ${rate} a second, meanwhile: ${shown(during)}`);
    if (came) {
      const at = (part: number) => came.seconds[Math.min(clients, Math.ceil(clients * part)) - 1]!.toFixed(1);
      console.log(
        `${clients} TLS clients are back: half of them after ${at(0.5)} s, all after ${at(1)} s, in ${came.tries} tries`,
      );
    } else console.log("not all clients came back");
    const ok = came !== undefined && came.seconds.at(-1)! <= 60 && during.failed === 0;
    const gone = once(child, "exit");
    child.disconnect();
    await gone;
    return ok ? 0 : 1;
  } finally {
    await answering.stop();
    await relay.peer.stop(30_000);
    await relay.remove();
  }
}

function shown({ successful, failed, retransmissions, answerMs, reasons = {} }: Called): string {
  const why = Object.entries(reasons).map(([reason, times]) => `${times} ${reason}`);
  const sorted = [...answerMs].sort((a, b) => a - b);
  const at = (part: number) => (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0).toFixed(1);
  return `${successful} well, ${failed} failed${why.length > 0 ? ` (${why.join(", ")})` : ""}, ${retransmissions} retransmissions; 200 after ${at(0.5)} ms (p99 ${at(0.99)}, longest ${at(1)})`;
}

const [, , what, ...args] = process.argv;
if (what === "come") await storm(Number(args[0]), Number(args[1]));
else process.exit(await main());
