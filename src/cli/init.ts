import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import type { Command } from "commander";
import { isIp } from "../config/listen.ts";
import { registerUser } from "../directory/users.ts";
import { authority } from "../identity/certificate.ts";
import { formatHost, isLoopback } from "../support/address.ts";
import { readConfig, withStore } from "./context.ts";
import { CliError, EXIT, type Io } from "./io.ts";

interface InitOptions {
  readonly domain: string;
  readonly address: string;
  readonly tls: boolean;
  readonly force?: boolean;
}

const PRIVATE = 0o600;
const PUBLIC = 0o644;
const CERTIFICATE_DAYS = 365;
const USER = "alice";

/** `tollgate init`. */
export function addInitCommand(program: Command, io: Io): void {
  program
    .command("init")
    .description("write a configuration that works, with certificates for trying out and a first user; asks nothing")
    .argument("[dir]", "the folder (default: this one)")
    .option("--domain <name>", "the portal's domain", "localhost")
    .option("--address <ip>", "where it listens; clients elsewhere need an address that they reach", "127.0.0.1")
    .option("--tls", "listen by TLS and secure WebSocket, too (the default)", true)
    .option("--no-tls", "by UDP and TCP alone, without certificates")
    .option("--force", "write over files that are there")
    .addHelpText(
      "after",
      `
Files that are there stay, unless you say --force. What is secret can be read by you alone.

Examples:
  $ tollgate init
  $ tollgate init /etc/tollgate --domain portal.example --address 203.0.113.5`,
    )
    .action(async (dir: string | undefined, options: InitOptions) => {
      const folder = resolve(io.cwd, dir ?? ".");
      check(options);
      const password = randomBytes(12).toString("base64url");
      const files = filesOf(options, password);
      const there = files.map(({ name }) => join(folder, name)).filter((path) => existsSync(path));
      if (there.length > 0 && !options.force)
        throw new CliError(`${there.join(", ")}: is there already; --force writes over it`, EXIT.failure);
      for (const { name, text, mode } of files) write(join(folder, name), text, mode);
      const path = join(folder, "tollgate.yaml");
      const { config } = readConfig(io, path);
      await withStore(config, (store) =>
        registerUser(store, { id: USER, realm: config.portal.realm, password, md5: true }),
      );
      io.out(nextSteps(io, folder, files, options));
    });
}

function check({ domain, address }: InitOptions): void {
  if (!isIp(address))
    throw new CliError(`--address: expected an IP address of this machine; found "${address}"`, EXIT.usage);
  if (!/^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$/.test(domain))
    throw new CliError(`--domain: expected a host name such as portal.example; found "${domain}"`, EXIT.usage);
}

interface Written {
  readonly name: string;
  readonly text: string;
  readonly mode: number;
  readonly what: string;
}

function filesOf(options: InitOptions, password: string): Written[] {
  const files = [
    { name: "tollgate.yaml", text: configuration(options), mode: PUBLIC, what: "the configuration" },
    { name: `${USER}-password`, text: `${password}\n`, mode: PRIVATE, what: `the password of the first user, ${USER}` },
  ];
  if (!options.tls) return files;
  const ca = authority("Tollgate trial authority");
  const names = [...new Set([`DNS:${options.domain}`, "DNS:localhost", `IP:${options.address}`, "IP:127.0.0.1"])];
  const to = new Date(Date.now() + CERTIFICATE_DAYS * 86_400_000);
  const { cert, key } = ca.issue({ names, commonName: options.domain, to });
  return [
    ...files,
    { name: "tls/cert.pem", text: cert, mode: PUBLIC, what: `a certificate for trying out, for ${options.domain}` },
    { name: "tls/key.pem", text: key, mode: PRIVATE, what: "its key" },
    { name: "tls/ca.pem", text: ca.cert, mode: PUBLIC, what: "who signed it: what clients have to trust" },
  ];
}

function configuration({ domain, address, tls }: InitOptions): string {
  const at = formatHost(address);
  const listen = [`udp:${at}:5060`, `tcp:${at}:5060`, ...(tls ? [`tls:${at}:5061`, `wss:${at}:8443`] : [])];
  const secure = `
# For trying out: clients must be told to trust tls/ca.pem. On the internet, name here what certbot or Caddy keep for
# you (ops/guide/transports.md): files that change are read again.
tls:
  cert: tls/cert.pem
  key: tls/key.pem
`;
  return `# Tollgate. Every setting, with its default: ops/tollgate.yaml of the package.
# tollgate check-config says whether this file can be read, tollgate doctor whether the relay can work with it.

portal:
  domain: ${domain}

# Clients that come from behind an address translation need the address that they see:
# - { transport: udp, address: ${address}, advertised: "203.0.113.5:5060" }
listen:
${listen.map((one) => `  - "${one}"`).join("\n")}
${tls ? secure : ""}
# Journal and store: what money depends on.
data: ./data

tariffs:
  - id: trial
    currency: EUR
    price: "0.10"                     # for each begun minute

services:
  - id: hello                         # sip:hello@${domain}
    title: Hello
    tariff: trial

# Whoever serves it. The SDK has examples: tollgate/sdk.
appServers:
  - id: hello
    uri: sip:127.0.0.1:5070;transport=tcp
    services: [hello]
`;
}

/** Never leaves half a file, and no moment in which others can read a secret. */
function write(path: string, text: string, mode: number): void {
  mkdirSync(dirname(path), { recursive: true });
  const fresh = `${path}.${randomBytes(4).toString("hex")}`;
  writeFileSync(fresh, text, { mode, flag: "wx" });
  renameSync(fresh, path);
}

function nextSteps(io: Io, folder: string, files: readonly Written[], { domain, address, tls }: InitOptions): string {
  const here = relative(io.cwd, folder) || ".";
  const option = here === "." ? "" : ` --config ${join(here, "tollgate.yaml")}`;
  const width = Math.max(...files.map(({ name }) => name.length));
  const rows = files.map(({ name, what }) => `  ${name.padEnd(width)}  ${what}`);
  const reach = isLoopback(address)
    ? `It listens on ${address}: clients on this machine alone reach it. --address names another.`
    : `Clients reach it at ${address}.`;
  return `Written to ${here}:
${rows.join("\n")}

${reach}

Next:
  tollgate doctor${option}            what is still missing, and what to do
  tollgate start${option}             the relay: SIP on port 5060${tls ? ", TLS on 5061, secure WebSocket on 8443" : ""}
  tollgate user add bob${option}      another user
  Sign in as sip:${USER}@${domain} with the password in ${join(here, `${USER}-password`)}, and call sip:hello@${domain}.
`;
}
