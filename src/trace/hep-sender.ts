import { createSocket } from "node:dgram";
import { isIPv6 } from "node:net";

export interface HepSender {
  send(packet: Buffer): void;
  /** What was given to it still goes out. */
  close(): void;
}

/** Sends packets to a Homer over UDP. Undefined: `to` is no `host:port`. */
export function hepSender(to: string): HepSender | undefined {
  const [, v6, host, port] = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})$/.exec(to) ?? [];
  const name = v6 ?? host;
  if (name === undefined || Number(port) > 65_535) return undefined;
  const socket = createSocket(isIPv6(name) ? "udp6" : "udp4");
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
      socket.send(packet, Number(port), name, () => {
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
