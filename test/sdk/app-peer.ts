import { afterEach } from "vitest";
import type { AppSession, ServiceHandler } from "../../src/sdk/app-api.ts";
import { type AppServer, type AppServerOptions, serve } from "../../src/sdk/app-server.ts";
import { header, Peer } from "./peer.ts";

/* An app server of the SDK, and a relay by hand that is connected to it. Both are closed after each test. */

export const open: { app?: AppServer; peers: Peer[] } = { peers: [] };

afterEach(async () => {
  for (const peer of open.peers.splice(0)) await peer.finish();
  await open.app?.close();
});

/** An app server with one service, and a relay's connection to it. */
export async function start(handler: ServiceHandler, options: Partial<AppServerOptions> = {}) {
  open.app = await serve({ listen: { host: "127.0.0.1", port: 0 }, services: { wine: handler }, ...options });
  return { app: open.app, relay: await connect(open.app) };
}

export async function connect(app: AppServer): Promise<Peer> {
  const peer = await Peer.dial(app.port);
  open.peers.push(peer);
  return peer;
}

let calls = 0;

/** An INVITE as the relay sends it. */
export function inviteLines(service = "wine", more: readonly string[] = ["Recv-Info: tollgate-charge"]): string[] {
  calls++;
  return [
    `INVITE sip:${service}@portal.com SIP/2.0`,
    `Via: SIP/2.0/TCP 127.0.0.1:5060;branch=z9hG4bK${calls}`,
    "Max-Forwards: 69",
    "From: <sip:alice@portal.com>;tag=relay",
    `To: <sip:${service}@portal.com>`,
    `Call-ID: call-${calls}`,
    "CSeq: 1 INVITE",
    "Contact: <sip:127.0.0.1:5060;transport=tcp>",
    ...(more.some((line) => /^p-asserted-identity:/i.test(line))
      ? []
      : ["P-Asserted-Identity: <sip:alice@portal.com>"]),
    ...more,
  ];
}

/** A request in the dialog that this answer made. */
export function inDialog(
  app: AppServer,
  answer: string,
  method: string,
  cseq: number,
  more: readonly string[] = [],
): string[] {
  return [
    `${method} sip:127.0.0.1:${app.port};transport=tcp SIP/2.0`,
    `Via: SIP/2.0/TCP 127.0.0.1:5060;branch=z9hG4bK-${header(answer, "call-id")}-${method}-${cseq}`,
    "Max-Forwards: 69",
    ...["From", "To", "Call-ID"].map((name) => `${name}: ${header(answer, name)}`),
    `CSeq: ${cseq} ${method}`,
    ...more,
  ];
}

/** A session that stands, from both ends. */
export async function established(
  options: { invite?: string[]; body?: string; charging?: AppServerOptions["charging"] } = {},
) {
  let tell!: (session: AppSession) => void;
  const standing = new Promise<AppSession>((resolve) => {
    tell = resolve;
  });
  const { app, relay } = await start(
    async (request) => tell(await request.accept({ url: "http://shop/" })),
    options.charging ? { charging: options.charging } : {},
  );
  relay.send(options.invite ?? inviteLines(), options.body);
  await relay.next("SIP/2.0 100");
  await relay.next("SIP/2.0 180");
  const answer = await relay.next("SIP/2.0 200");
  relay.send(inDialog(app, answer, "ACK", 1));
  return { app, relay, answer, session: await standing };
}

export const wine = { id: "b1", item: "Rioja", unitPrice: "24.50", quantity: "2", currency: "EUR" };
