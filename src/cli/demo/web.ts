import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";

/** The web side of an app server, on a port of this machine. */
export interface Web {
  /** Without a slash at the end. */
  readonly url: string;
  close(): Promise<void>;
}

export async function openWeb(page: RequestListener): Promise<Web> {
  const server = createServer(page).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}
