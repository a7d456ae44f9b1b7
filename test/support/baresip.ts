import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { freePort, type Peer, start } from "./peers.ts";
import { PORTAL } from "./sipp.ts";

/* baresip 1.0 (Debian `baresip-core`) without sound card or terminal, driven through its TCP control port. */

export interface Baresip {
  readonly peer: Peer;
  /** Sends a command such as `dial`; rejects when baresip refuses it. */
  command(name: string, params?: string): Promise<void>;
  /**
   * Resolves at the first event of that type after the one that was waited for last; rejects after 10 s, or when the
   * call closes.
   */
  event(type: string): Promise<BaresipEvent>;
}

export interface BaresipEvent {
  readonly type: string;
  readonly param?: string;
}

interface Waiting {
  readonly type: string;
  readonly resolve: (event: BaresipEvent) => void;
  readonly reject: (error: Error) => void;
}

/**
 * Starts baresip for user alice, with everything sent by way of the relay. `folder`: an existing one for its files.
 * `answers`: it takes calls by itself.
 */
export async function startBaresip(options: {
  folder: string;
  relayPort: number;
  answers?: boolean;
  transport?: "udp" | "tcp" | "tls";
  /** False: it does not register before it calls. */
  registers?: boolean;
  /** Whom to believe; a file. */
  ca?: string;
}): Promise<Baresip> {
  const home = join(options.folder, "baresip");
  const control = await freePort();
  writeFiles(home, control, options);
  const peer = await start("baresip", "baresip", ["-4", "-f", home]);
  await peer.says(/baresip is ready/);
  const socket = await connected(control);
  const baresip = { peer, ...conversation(peer, socket) };
  if (options.registers === false) return baresip;
  await peer.says(/200 OK/);
  return baresip;
}

function writeFiles(
  home: string,
  control: number,
  { relayPort, answers, transport = "udp", ca }: Parameters<typeof startBaresip>[0],
): void {
  mkdirSync(home);
  const config = [
    "sip_listen 127.0.0.1:0",
    ...(ca === undefined ? [] : [`sip_cafile ${ca}`]),
    // A loop in memory in place of microphone and loudspeaker.
    "audio_source aubridge,loop",
    "audio_player aubridge,loop",
    "audio_alert aubridge,alert",
    `module_path ${modules()}`,
    ...["g711", "aubridge"].map((module) => `module ${module}.so`),
    "module_tmp account.so",
    ...["menu", "ctrl_tcp"].map((module) => `module_app ${module}.so`),
    `ctrl_tcp_listen 127.0.0.1:${control}`,
  ];
  writeFileSync(join(home, "config"), `${config.join("\n")}\n`);
  writeFileSync(
    join(home, "accounts"),
    `<sip:alice@${PORTAL};transport=${transport}>;auth_user=alice;auth_pass=secret;regint=3600;audio_codecs=PCMU;outbound="sip:127.0.0.1:${relayPort};transport=${transport}"${answers ? ";answermode=auto" : ""}\n`,
  );
  writeFileSync(join(home, "contacts"), "");
}

/** Debian has them in /usr/lib/baresip/modules or, later, in the folder of the architecture. */
function modules(): string {
  const folders = ["/usr/lib", "/usr/local/lib", ...readdirSync("/usr/lib").map((name) => join("/usr/lib", name))];
  for (const folder of folders) {
    const candidate = join(folder, "baresip/modules");
    try {
      if (readdirSync(candidate).includes("aubridge.so")) return candidate;
    } catch {
      // not here
    }
  }
  return "/usr/lib/baresip/modules";
}

const connected = (port: number) =>
  new Promise<Socket>((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => resolve(socket)).once("error", reject);
  });

function conversation(peer: Peer, socket: Socket): Omit<Baresip, "peer"> {
  const past: BaresipEvent[] = [];
  const waiting = new Set<Waiting>();
  const answers = new Map<string, (answer: { ok: boolean; data: string }) => void>();
  let commands = 0;

  const take = (event: BaresipEvent) => {
    past.push(event);
    for (const one of waiting) {
      if (one.type === event.type) {
        past.length = 0;
        one.resolve(event);
      } else if (event.type === "CALL_CLOSED") {
        one.reject(new Error(`the call closed (${event.param}) before ${one.type}:\n${peer.output()}`));
      }
    }
  };
  readNetstrings(socket, (text) => {
    const message = JSON.parse(text) as { response?: boolean; ok: boolean; data: string; token: string } & BaresipEvent;
    if (message.response) answers.get(message.token)?.(message);
    else take(message);
  });
  socket.on("error", () => {}); // It ends with baresip.

  return {
    command: (name, params) =>
      new Promise((resolve, reject) => {
        const token = String(++commands);
        answers.set(token, ({ ok, data }) =>
          ok ? resolve() : reject(new Error(`baresip: ${name}: ${data}\n${peer.output()}`)),
        );
        const text = JSON.stringify({ command: name, ...(params === undefined ? {} : { params }), token });
        socket.write(`${Buffer.byteLength(text)}:${text},`);
      }),
    event: (type) =>
      new Promise((resolve, reject) => {
        const at = past.findIndex((event) => event.type === type);
        if (at >= 0) return resolve(past.splice(0, at + 1)[at]!);
        const settle = (done: () => void) => {
          clearTimeout(timer);
          waiting.delete(one);
          done();
        };
        const one: Waiting = {
          type,
          resolve: (event) => settle(() => resolve(event)),
          reject: (error) => settle(() => reject(error)),
        };
        const timer = setTimeout(() => one.reject(new Error(`no ${type} within 10 s:\n${peer.output()}`)), 10_000);
        waiting.add(one);
      }),
  };
}

/** `<length>:<text>,` and the next. */
function readNetstrings(socket: Socket, read: (text: string) => void): void {
  let rest = Buffer.alloc(0);
  socket.on("data", (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    for (;;) {
      const colon = rest.indexOf(":");
      const length = Number(rest.subarray(0, colon).toString());
      if (colon < 0 || rest.length < colon + length + 2) return;
      read(rest.subarray(colon + 1, colon + 1 + length).toString());
      rest = rest.subarray(colon + length + 2);
    }
  });
}
