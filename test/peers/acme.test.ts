import { writeFileSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type TLSSocket } from "node:tls";
import { describe, expect } from "vitest";
import { openPortal } from "../e2e/portal.ts";
import { certificateFolder } from "../support/certificates.ts";
import { peerTest } from "../support/peer-test.ts";
import { freePort, listens, start } from "../support/peers.ts";
import { until } from "../support/until.ts";

/* Certificates as operators get them (ops/guide/transports.md), from an authority that speaks ACME: pebble. */

const NAME = "portal.example";

async function authority(folder: string) {
  const tls = certificateFolder();
  const [directory, management, http] = [await freePort(), await freePort(), await freePort()];
  const pebble = {
    listenAddress: `127.0.0.1:${directory}`,
    managementListenAddress: `127.0.0.1:${management}`,
    ...{ certificate: tls.cert, privateKey: tls.key, httpPort: http, tlsPort: http },
    ...{ ocspResponderURL: "", externalAccountBindingRequired: false },
  };
  const config = join(folder, "pebble.json");
  await writeFile(config, JSON.stringify({ pebble }));
  // Whether a name is the asker's is not what this is about.
  const env = { PEBBLE_VA_ALWAYS_VALID: "1", PEBBLE_VA_NOSLEEP: "1", PEBBLE_WFE_NONCEREJECT: "0" };
  const peer = await start("pebble", "pebble", ["-config", config], { env });
  await listens(peer, "tcp", directory);
  return { peer, http, url: `https://localhost:${directory}/dir`, ca: tls.ca };
}

interface Client {
  /** Where the certificate and its key lie. */
  readonly cert: string;
  readonly key: string;
  readonly program: string;
  readonly env: Record<string, string>;
  readonly first: readonly string[];
  readonly renew: readonly string[];
}

type Acme = Awaited<ReturnType<typeof authority>>;

function certbot(folder: string, { url, http, ca }: Acme): Client {
  const folders = ["--config-dir", folder, "--work-dir", join(folder, "work"), "--logs-dir", join(folder, "logs")];
  const live = join(folder, "live", NAME);
  return {
    program: "certbot",
    env: { REQUESTS_CA_BUNDLE: ca },
    cert: join(live, "fullchain.pem"),
    key: join(live, "privkey.pem"),
    first: [
      ...["certonly", "-n", "--standalone", "--http-01-port", String(http), "-d", NAME, "--server", url],
      ...["--agree-tos", "--register-unsafely-without-email", ...folders],
    ],
    renew: ["renew", "-n", "--force-renewal", "--no-random-sleep-on-renew", ...folders],
  };
}

function lego(folder: string, { url, http, ca }: Acme): Client {
  const common = ["--accept-tos", "--email", `ops@${NAME}`, "--server", url, "--path", folder, "--domains", NAME];
  const how = ["--http", "--http.port", `127.0.0.1:${http}`];
  return {
    program: "lego",
    env: { LEGO_CA_CERTIFICATES: ca },
    cert: join(folder, "certificates", `${NAME}.crt`),
    key: join(folder, "certificates", `${NAME}.key`),
    first: [...common, ...how, "run"],
    renew: [...common, ...how, "renew", "--days", "10000", "--no-random-sleep"],
  };
}

/** Caddy keeps certificates by itself for as long as it runs: it runs until it has one, and anew without one. */
function caddy(folder: string, { url, http, ca }: Acme): Client {
  const place = join(folder, "certificates", `${new URL(url).host.replace(":", "-")}-dir`, NAME);
  const [cert, key] = [join(place, `${NAME}.crt`), join(place, `${NAME}.key`)];
  const options = [
    ...[`storage file_system ${folder}`, `acme_ca ${url}`, `acme_ca_root ${ca}`, "admin off", "skip_install_trust"],
    ...[`http_port ${http}`, `https_port ${http + 1}`, "auto_https disable_redirects"],
  ];
  const config = join(folder, "Caddyfile");
  writeFileSync(config, `{\n${options.join("\n")}\n}\n${NAME} {\n  respond ok\n}\n`);
  const keep = `caddy run --config ${config} --adapter caddyfile & until [ -s ${cert} ] && [ -s ${key} ]; do sleep 0.05; done; kill $!; wait`;
  return {
    program: "sh",
    env: { HOME: folder },
    cert,
    key,
    first: ["-c", keep],
    renew: ["-c", `rm -r ${place}; ${keep}`],
  };
}

/** A connection by TLS, and what it shows. */
async function open(port: number) {
  const socket: TLSSocket = connect({ host: "127.0.0.1", port, servername: NAME, rejectUnauthorized: false });
  await new Promise((resolve, reject) => socket.once("secureConnect", resolve).once("error", reject));
  let heard = "";
  socket.setEncoding("latin1").on("data", (chunk: string) => {
    heard += chunk;
  });
  socket.on("error", () => {});
  return {
    serial: socket.getPeerCertificate().serialNumber,
    names: socket.getPeerCertificate().subjectaltname,
    /** Resolves when the relay has answered one more request on it. */
    async asks(n: number) {
      const via = `Via: SIP/2.0/TLS 127.0.0.1:5061;branch=z9hG4bK${n}`;
      const lines = [`OPTIONS sip:${NAME} SIP/2.0`, via, `From: <sip:x@${NAME}>;tag=${n}`, `To: <sip:${NAME}>`];
      socket.write([...lines, `Call-ID: c${n}`, `CSeq: ${n} OPTIONS`, "Max-Forwards: 70", "", ""].join("\r\n"));
      await until(() => new RegExp(`SIP/2.0 200 [^]*CSeq: ${n} OPTIONS`).test(heard), 10_000);
    },
    close: () => void socket.destroy(),
  };
}

describe("a certificate from an authority that speaks ACME", () => {
  for (const [name, client] of [
    ["certbot", certbot],
    ["lego", lego],
    ["caddy", caddy],
  ] as const)
    peerTest(
      `by ${name} is used as it lies there; its renewal is seen, and connections stay`,
      ["pebble", name],
      90_000,
      async () => {
        const folder = await mkdtemp(join(tmpdir(), `tollgate-${name}-`));
        const acme = await authority(folder);
        const { program, env, first, renew, cert, key } = client(folder, acme);
        const act = async (args: readonly string[]) => {
          const { code, output } = await runs(program, args, env);
          expect(code, output).toBe(0);
        };
        try {
          await act(first);
          const portal = await openPortal({
            config: {
              portal: { domain: NAME },
              listen: [{ transport: "tls", address: "127.0.0.1", port: 0 }],
              tls: { cert, key },
            },
          });
          const port = portal.relay.addresses[0]!.port;
          const before = await open(port);
          expect(before.names).toBe(`DNS:${NAME}`);
          await before.asks(1);
          const was = await readFile(cert, "utf8");
          await act(renew);
          expect(await readFile(cert, "utf8")).not.toBe(was);
          // Nobody tells the relay: it looks every ten seconds.
          await until(async () => {
            const now = await open(port);
            now.close();
            return now.serial !== before.serial;
          }, 30_000);
          await before.asks(2);
          before.close();
          expect(portal.log()).toContain("tls: certificate loaded");
          await portal.close();
        } finally {
          await acme.peer.stop();
          await rm(folder, { recursive: true, force: true });
        }
      },
    );
});

async function runs(program: string, args: readonly string[], env: Record<string, string>) {
  const peer = await start(program, program, args, { env });
  const { code } = await peer.exit;
  return { code, output: peer.output() };
}
