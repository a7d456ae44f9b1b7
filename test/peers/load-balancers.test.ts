import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { afterAll, describe, expect } from "vitest";
import { WebSocket } from "ws";
import { authority, certificateFolder } from "../support/certificates.ts";
import { peerTest } from "../support/peer-test.ts";
import { freePort, listens, start as startProgram } from "../support/peers.ts";
import { closeAll, ok, start, text } from "../transport/harness.ts";

// Not after each: the tests run beside each other.
afterAll(closeAll);

const ca = authority();
const { cert, key } = certificateFolder(["DNS:portal.example"], ca);
const PATH = { PATH: `${process.env.PATH}:/usr/sbin` };
const STREAM = "/usr/lib/nginx/modules/ngx_stream_module.so";

/** A relay's transports behind a load balancer on this machine. */
async function relay() {
  const started = await start({
    listen: [
      { transport: "tls", address: "127.0.0.1", port: 0, proxyProtocol: ["127.0.0.1"] },
      { transport: "ws", address: "127.0.0.1", port: 0 },
    ],
    tls: { cert, key },
    trustedProxies: ["127.0.0.1"],
  });
  const [tls, ws] = started.layer.listening.map(({ port }) => port);
  return { ...started, tls: tls!, ws: ws! };
}

/** The example with addresses of this machine in place of its own. */
function example(name: string, addresses: Readonly<Record<string, string>>): string {
  let written = readFileSync(new URL(`../../ops/front/${name}`, import.meta.url), "utf8");
  for (const [from, to] of Object.entries(addresses)) {
    expect(written).toContain(from);
    written = written.replaceAll(from, to);
  }
  return written;
}

/** A client at 127.0.0.9 calls by TLS, and is answered. Resolves to the address that the relay sees. */
async function callsByTls(port: number, { user }: Awaited<ReturnType<typeof relay>>): Promise<string> {
  const socket = connectTls({
    ...{ port, host: "127.0.0.1", localAddress: "127.0.0.9", ca: ca.cert, servername: "portal.example" },
  });
  await once(socket, "secureConnect");
  socket.write(text("SIP/2.0/TLS a.invalid;rport;branch=z9hG4bK1"));
  const { message, flow } = await user.messages.next();
  flow.send(ok(message));
  const [answer] = await once(socket, "data");
  expect(String(answer)).toContain("received=127.0.0.9");
  socket.destroy();
  return flow.remoteAddress;
}

describe("a load balancer before the relay (ops/front)", () => {
  peerTest("HAProxy says for whom it comes", ["haproxy"], 30_000, async () => {
    const folder = mkdtempSync(join(tmpdir(), "tollgate-front-"));
    const [behind, port] = [await relay(), await freePort()];
    const file = join(folder, "haproxy.cfg");
    const addresses = {
      ...{ "203.0.113.5:5061": `127.0.0.1:${port}`, "10.0.0.11:5061": `127.0.0.1:${behind.tls}` },
      "10.0.0.12:5061": `127.0.0.1:${behind.tls}`,
      "maxconn 40000": "maxconn 100", // a test machine has fewer files
    };
    writeFileSync(file, example("haproxy.cfg", addresses));
    const haproxy = await startProgram("haproxy", "haproxy", ["-db", "-f", file], { env: PATH });
    await listens(haproxy, "tcp", port);
    expect(await callsByTls(port, behind)).toBe("127.0.0.9");
    await haproxy.stop();
    rmSync(folder, { recursive: true });
  });

  peerTest("nginx says for whom it comes, by TLS and by WebSocket", ["nginx"], 30_000, async () => {
    if (!existsSync(STREAM)) return;
    const folder = mkdtempSync(join(tmpdir(), "tollgate-front-"));
    const [behind, port, web] = [await relay(), await freePort(), await freePort()];
    const addresses = {
      ...{ "203.0.113.5:5061": `127.0.0.1:${port}`, "10.0.0.11:5061": `127.0.0.1:${behind.tls}` },
      ...{ "203.0.113.5:8080": `127.0.0.1:${web}`, "10.0.0.11:80": `127.0.0.1:${behind.ws}` },
    };
    const file = join(folder, "nginx.conf");
    const head = `load_module ${STREAM};\npid ${folder}/pid;\nerror_log stderr;\nevents {}\n`;
    const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
      .map((name) => `    ${name}_temp_path ${folder}/${name};\n`)
      .join("");
    const written = example("nginx-stream.conf", addresses);
    writeFileSync(file, head + written.replace("http {\n", `http {\n    access_log off;\n${paths}`));
    const nginx = await startProgram("nginx", "nginx", ["-p", folder, "-c", file, "-g", "daemon off;"], { env: PATH });
    await listens(nginx, "tcp", port);
    expect(await callsByTls(port, behind)).toBe("127.0.0.9");

    const headers = { "X-Forwarded-For": "198.51.100.1" }; // a client's own claim
    const socket = new WebSocket(`ws://127.0.0.1:${web}/`, "sip", { headers, localAddress: "127.0.0.9" });
    await once(socket, "open");
    socket.send(text("SIP/2.0/WS a.invalid;branch=z9hG4bK2"));
    expect((await behind.user.messages.next()).flow.remoteAddress).toBe("127.0.0.9");
    socket.terminate();
    await nginx.stop();
    rmSync(folder, { recursive: true, force: true });
  });
});
