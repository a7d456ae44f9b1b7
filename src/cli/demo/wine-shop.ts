import type { IncomingMessage, ServerResponse } from "node:http";
import { type AppServer, type AppSession, type ServiceRequest, SipError, serve } from "../../sdk/index.ts";
import { systemRandom } from "../../support/random.ts";
import { openWeb } from "./web.ts";

export const WINES = [
  { id: "rioja", name: "Rioja Crianza", price: "12.50" },
  { id: "riesling", name: "Mosel Riesling", price: "9.80" },
  { id: "barolo", name: "Barolo", price: "34.00" },
  { id: "grappa", name: "Grappa di Barolo", price: "29.50" },
] as const;
export const DELIVERY = { item: "Delivery", unitPrice: "4.90" } as const;
export const CURRENCY = "EUR";
const MAX_FORM_BYTES = 4096;

export interface WineShop {
  readonly sip: AppServer;
  close(): Promise<void>;
}

interface Visit {
  readonly session: Promise<AppSession>;
  bought: boolean;
}

/**
 * An app server as a web shop would be: a web page, and beside it a SIP session for as long as somebody shops. It
 * knows no passwords and keeps no accounts: the relay tells it who is there and who pays. A client that has come for
 * wine may go on to grappa in the same session and on the same page.
 */
export async function startWineShop(): Promise<WineShop> {
  const visits = new Map<string, Visit>();
  const web = await openWeb((request, response) => void page(visits, request, response));

  const open = async (request: ServiceRequest) => {
    const id = systemRandom.token();
    const url = `${web.url}/${id}`;
    const visit: Visit = { session: request.accept({ url }), bought: false };
    visits.set(id, visit); // the browser may be quicker than the ACK
    try {
      const session = await visit.session;
      session.onChange((change) => change.accept({ url }));
      session.onEnd(() => (visit.bought ? [{ id: "delivery", ...DELIVERY, currency: CURRENCY }] : []));
      await session.ended;
    } finally {
      visits.delete(id);
    }
  };
  const sip = await serve({ listen: { host: "127.0.0.1", port: 0 }, services: { wine: open, grappa: open } });
  return {
    sip,
    async close() {
      await sip.close();
      await web.close();
    },
  };
}

/** GET shows the wines; POST buys one, and says so only when the relay has it on record. */
async function page(
  visits: ReadonlyMap<string, Visit>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  try {
    const visit = visits.get(request.url?.slice(1) ?? "");
    if (!visit) return reply(response, 404, "<p>This visit is over.</p>");
    const session = await visit.session;
    if (request.method !== "POST") return reply(response, 200, shelf(session.user ?? "stranger"));
    const form = new URLSearchParams(await readForm(request));
    const wine = WINES.find(({ id }) => id === form.get("wine"));
    const quantity = form.get("quantity") ?? "1";
    if (!wine || !/^[1-9]\d?$/.test(quantity))
      return reply(response, 400, "<p>There is no such wine, or not that many.</p>");
    await session.charge({ item: wine.name, unitPrice: wine.price, quantity, currency: CURRENCY });
    visit.bought = true;
    reply(response, 200, `<p>${quantity} × ${wine.name}: it is on your bill.</p><p><a href="">Buy more</a></p>`);
  } catch (error) {
    const why = error instanceof SipError ? `The relay refused the charge: ${error.message}` : "Something went wrong.";
    reply(response, 502, `<p>${escaped(why)}</p>`);
  }
}

async function readForm(request: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of request) {
    text += chunk;
    if (text.length > MAX_FORM_BYTES) throw new Error("the form is too long");
  }
  return text;
}

function shelf(user: string): string {
  const items = WINES.map(
    ({ id, name, price }) =>
      `<li>${name}, ${price} ${CURRENCY}<form method="post"><input type="hidden" name="wine" value="${id}"><input name="quantity" value="1"><button>Buy</button></form></li>`,
  );
  return `<p>Welcome, ${escaped(user)}.</p><ul>${items.join("")}</ul>`;
}

function reply(response: ServerResponse, status: number, body: string): void {
  response.writeHead(status, { "Content-Type": "text/html; charset=utf-8", Connection: "close" });
  response.end(`<!doctype html><title>Wine shop</title><h1>Wine shop</h1>${body}`);
}

const escaped = (text: string) => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
