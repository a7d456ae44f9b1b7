import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { family } from "../bench/proc.ts";
import { freePort, listens, type Peer, run, start } from "../support/peers.ts";
import { ROOT } from "../support/project.ts";
import { sippClient, sippServer } from "../support/sipp.ts";

/*
 * The same kill at Kamailio: two of them that tell each other of their dialogs by DMQ, with one address before both, as
 * keepalived moves it. One is killed while calls stand, which hang up by themselves later.
 */

export interface KamailioFigures {
  readonly calls: number;
  /** Calls whose own BYE was answered 200 after the kill. */
  readonly hungUp: number;
  /** Dialogs that the second one knew before the kill, and still had when all was over. */
  readonly copied: number;
  readonly left: number;
  /** Calls on record with their end, and those of them that lasted what they lasted, to the second. */
  readonly recorded: number;
  readonly toTheSecond: number;
}

const RATE = 50;
const HOLD_MS = 20_000;
const SECOND_MS = 1_000;
const OVER_MS = 20_000;

/** `kills`: false shows what all of it does where nobody is killed. */
export async function killKamailio(calls: number, kills: boolean): Promise<KamailioFigures> {
  const folder = mkdtempSync(join(tmpdir(), "tollgate-dmq-"));
  const closers: (() => unknown)[] = [() => rmSync(folder, { recursive: true, force: true })];
  try {
    const appServer = await freePort();
    const address = await Address.open();
    closers.push(() => address.close());
    const behind = await address.before(appServer);
    const ports = { sip: [await freePort(), await freePort()], dmq: [await freePort(), await freePort()] };
    const peers: Peer[] = [];
    let killed: Peer | undefined;
    for (const i of [0, 1]) {
      const peer = await startKamailio(folder, i, { ...ports, appServer: behind, address: address.port });
      peers.push(peer);
      closers.push(() => {
        if (peer !== killed) for (const pid of family(peer.pid)) process.kill(pid, "SIGKILL");
      });
    }
    address.at = ports.sip[0]!;
    const common = { folder, trace: false, timeoutS: 90, more: ["-aa", "-buff_size", "4194304"] };
    const server = await sippServer({
      ...common,
      scenario: "server-call",
      port: appServer,
      calls,
      holdMs: 1,
    });
    closers.push(() => server.stop());
    await pause(3_000); // until the two have heard of each other
    const statistics = join(folder, "calls.csv");
    const more = [...common.more, "-trace_stat", "-stf", statistics, "-fd", "1"];
    const load = { scenario: "client-call", service: "wine", calls, rate: RATE, holdMs: HOLD_MS };
    const way = { port: await freePort(), remotePort: address.port };
    const client = await sippClient({ ...common, ...load, ...way, more });
    await pause((calls / RATE) * 1_000 + 3_000);
    const copied = await dialogs(folder, 1);
    if (kills) {
      killed = peers[0]!;
      for (const pid of family(killed.pid)) process.kill(pid, "SIGKILL");
      address.at = ports.sip[1]!;
    }
    await Promise.race([client.exit, pause(HOLD_MS + OVER_MS)]);
    const hungUp = column(statistics, "SuccessfulCall(C)");
    await client.stop();
    const left = await dialogs(folder, 1);
    const log = [0, 1].map((i) => readFileSync(join(folder, `calls-${i}.log`), "utf8")).join("\n");
    const durations = Array.from(log.matchAll(/duration=([\d.]+)/g), ([, seconds]) => Number(seconds) * 1_000);
    const toTheSecond = durations.filter((ms) => Math.abs(ms - HOLD_MS) <= SECOND_MS).length;
    return { calls, hungUp, copied, left, recorded: durations.length, toTheSecond };
  } finally {
    for (const close of closers.reverse()) await close();
  }
}

async function startKamailio(
  folder: string,
  i: number,
  { sip, dmq, appServer, address }: { sip: number[]; dmq: number[]; appServer: number; address: number },
): Promise<Peer> {
  const args = "-x fm -X fm -DD -E -m 256 -M 16 -n 1 -b 4194304".split(" ");
  const own = [
    ...["-f", join(ROOT, "ops/bench/kamailio.cfg"), "-Y", folder, "-w", folder],
    ...["-l", `udp:127.0.0.1:${sip[i]}/127.0.0.1:${address}`, "-l", `udp:127.0.0.1:${dmq[i]}/127.0.0.1:${dmq[i]}`],
    ...["-A", `APP_SERVER="127.0.0.1:${appServer}"`, "-A", `CTL="unix:${folder}/ctl-${i}"`],
    ...["-A", `DMQ="sip:127.0.0.1:${dmq[i]}"`, "-A", `DMQ_PEER="sip:127.0.0.1:${dmq[1 - i]}"`],
  ];
  const peer = await start(
    "kamailio",
    "sh",
    ["-c", `exec kamailio "$@" 2>>calls-${i}.log`, "kamailio", ...args, ...own],
    {
      cwd: folder,
      env: { PATH: `${process.env.PATH}:/usr/sbin` },
    },
  );
  await listens(peer, "udp", sip[i]!);
  return peer;
}

/** How many dialogs it knows. */
async function dialogs(folder: string, i: number): Promise<number> {
  const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` };
  const text = await run("kamcmd", "kamcmd", ["-s", `unix:${folder}/ctl-${i}`, "dlg.stats_active"], { env });
  return Number(/all: (\d+)/.exec(text)?.[1] ?? Number.NaN);
}

/** Of SIPp's statistics, what the last whole line says. */
function column(file: string, name: string): number {
  const lines = readFileSync(file, "utf8").split("\n");
  return Number(lines.at(-2)?.split(";")[lines[0]!.split(";").indexOf(name)]) || 0;
}

/** One UDP address before several servers, which has one of them at a time. */
class Address {
  /** Its port. */
  at = 0;
  readonly port: number;
  private readonly front: Socket;
  /** One socket for each peer, by its port. */
  private readonly backs = new Map<number, Socket>();

  private constructor(front: Socket) {
    this.front = front;
    this.port = front.address().port;
    front.on("message", (bytes, from) => this.backOf(from).send(bytes, this.at, "127.0.0.1"));
  }

  static async open(): Promise<Address> {
    const front = createSocket({ type: "udp4", recvBufferSize: 4_194_304 });
    front.bind(0, "127.0.0.1");
    await once(front, "listening");
    return new Address(front);
  }

  close(): void {
    this.front.close();
    for (const back of this.backs.values()) back.close();
  }

  /**
   * The port by which the servers reach a peer that answers whoever asked it first (SIPp does): it sees one and the
   * same address, and what it sends goes to the server that has it.
   */
  async before(peer: number): Promise<number> {
    const [near, far] = [createSocket("udp4"), createSocket({ type: "udp4", recvBufferSize: 4_194_304 })];
    for (const socket of [near, far]) {
      socket.bind(0, "127.0.0.1");
      await once(socket, "listening");
    }
    far.on("message", (bytes) => near.send(bytes, peer, "127.0.0.1"));
    near.on("message", (bytes) => far.send(bytes, this.at, "127.0.0.1"));
    this.backs.set(-1, near).set(-2, far);
    return far.address().port;
  }

  private backOf({ port }: RemoteInfo): Socket {
    const known = this.backs.get(port);
    if (known) return known;
    const back = createSocket("udp4");
    back.on("message", (bytes) => this.front.send(bytes, port, "127.0.0.1"));
    back.on("error", () => {});
    this.backs.set(port, back);
    return back;
  }
}
