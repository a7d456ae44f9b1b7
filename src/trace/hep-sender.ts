import { createSocket } from "node:dgram";
import { isIPv6 } from "node:net";

/** Where a Homer takes HEP. */
export interface Homer {
  readonly host: string;
  readonly port: number;
}

export interface HepSender {
  send(packet: Buffer): void;
  /** What was given to it still goes out. */
  close(): void;
}

/** Reads `host:port`; undefined: it is none. */
export function homerIn(text: string): Homer | undefined {
  const [, v6, name, port] = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = v6 ?? name;
  return host === undefined || Number(port) > 65_535 ? undefined : { host, port: Number(port) };
}

/** What a text that names no Homer should have been. */
export const NO_HOMER = "expected a host and port such as 10.0.0.9:9060";

/** Sends packets to a Homer over UDP. */
export function hepSender({ host, port }: Homer): HepSender {
  const socket = createSocket(isIPv6(host) ? "udp6" : "udp4");
  socket.on("error", () => {}); // nobody may be there
  socket.unref();
  let underWay = 0;
  let over = false;
  const closeIfDone = () => {
    if (over && underWay === 0) socket.close();
  };
  return {
    send: (packet) => {
      if (over) return;
      underWay++;
      socket.send(packet, port, host, () => {
        underWay--;
        closeIfDone();
      });
    },
    close: () => {
      if (over) return;
      over = true;
      closeIfDone();
    },
  };
}
