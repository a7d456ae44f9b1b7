import { type AppServer, type ServiceRequest, serve } from "../../sdk/index.ts";
import { systemRandom } from "../../support/random.ts";
import { openWeb } from "./web.ts";

export interface House {
  readonly sip: AppServer;
  close(): Promise<void>;
}

/**
 * An app server with one service and a page for clients that have a session: a brewery, a book shop. It charges
 * nothing itself.
 */
export async function startHouse(service: string, title: string): Promise<House> {
  const name = title.toLowerCase().replaceAll(" ", "-");
  const visits = new Set<string>();
  const web = await openWeb((request, response) => {
    const open = visits.has(request.url?.slice(1) ?? "");
    response.writeHead(open ? 200 : 404, { "Content-Type": "text/html", Connection: "close" });
    response.end(`<!doctype html><title>${title}</title><h1>${title}</h1>`);
  });

  const open = async (request: ServiceRequest) => {
    const visit = `${name}/${systemRandom.token()}`;
    visits.add(visit);
    try {
      const session = await request.accept({ url: `${web.url}/${visit}` });
      await session.ended;
    } finally {
      visits.delete(visit);
    }
  };
  const sip = await serve({ listen: { host: "127.0.0.1", port: 0 }, services: { [service]: open } });
  return {
    sip,
    async close() {
      await sip.close();
      await web.close();
    },
  };
}
