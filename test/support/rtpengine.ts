import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, listens, type Peer, start } from "./peers.ts";
import { ROOT } from "./project.ts";

/* Debian's rtpengine-daemon by ops/front/rtpengine.conf, and ends that speak plain RTP (RFC 3550) by PCMU. */

export interface Rtpengine {
  readonly peer: Peer;
  /** Where it takes commands, as `media.rtpengines` wants it. */
  readonly address: string;
  stop(): Promise<void>;
}

export async function startRtpengine(): Promise<Rtpengine> {
  const folder = await mkdtemp(join(tmpdir(), "tollgate-rtpengine-"));
  const ng = await freePort();
  const peer = await start("rtpengine", "rtpengine", [
    ...["--config-file", join(ROOT, "ops/front/rtpengine.conf"), `--listen-ng=127.0.0.1:${ng}`],
    ...["--foreground", "--log-stderr", `--pidfile=${join(folder, "pid")}`],
  ]);
  await listens(peer, "udp", ng);
  return {
    peer,
    address: `127.0.0.1:${ng}`,
    async stop() {
      await peer.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** An end with plain RTP at that port. */
export const plain = (port: number) =>
  `v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio ${port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n`;

export const portIn = (sdp: string) => Number(/^m=audio (\d+) /m.exec(sdp)![1]);

export async function openSocket(): Promise<Socket> {
  const socket = createSocket("udp4");
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  return socket;
}

/** Loud, and 500 Hz. */
const TONE = Buffer.from(Array.from({ length: 160 }, (_, i) => (i % 16 < 8 ? 0x80 : 0x00)));

/** An RTP packet of 20 ms of PCMU (RFC 3550 §5.1). */
export function rtp(sequence: number, sound = TONE): Buffer {
  const packet = Buffer.alloc(12 + sound.length);
  packet.writeUInt8(0x80, 0);
  packet.writeUInt8(0, 1);
  packet.writeUInt16BE(sequence & 0xffff, 2);
  packet.writeUInt32BE(sequence * 160, 4);
  packet.writeUInt32BE(0x1234, 8);
  sound.copy(packet, 12);
  return packet;
}
