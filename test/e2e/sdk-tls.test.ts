import { expect, it, onTestFinished } from "vitest";
import { type AppSession, createClient, serve } from "../../src/sdk/index.ts";
import { authority, certificateFolder } from "../support/certificates.ts";
import { DOMAIN, lines, openPortal, PASSWORD, USER } from "./portal.ts";

const ca = authority();
const files = certificateFolder([`DNS:${DOMAIN}`, "IP:127.0.0.1"], ca);

async function open() {
  let began!: (session: Promise<AppSession>) => void;
  const session = new Promise<AppSession>((resolve) => {
    began = resolve;
  });
  const shop = await serve({
    listen: { host: "127.0.0.1", port: 0 },
    tls: { ...ca.issue({ names: ["IP:127.0.0.1"] }), ca: ca.cert },
    services: { wine: (request) => began(request.accept({ url: "https://shop.example/1" })) },
  });
  const portal = await openPortal({
    config: {
      listen: ["tls:127.0.0.1:0"],
      tls: { cert: files.cert, key: files.key, ca: files.ca },
      services: [{ id: "wine", limits: { charge: "100", currency: "EUR" } }],
      appServers: [{ id: "shop", uri: shop.uri, services: ["wine"] }],
    },
  });
  const { port } = portal.relay.addresses[0]!;
  const clientWith = (trusted: string) => {
    const relay = `sips:127.0.0.1:${port}`;
    const client = createClient({ relay, tls: { ca: trusted }, user: USER, password: PASSWORD, domain: DOMAIN });
    onTestFinished(() => client.close());
    return client;
  };
  onTestFinished(async () => {
    await portal.close();
    await shop.close();
  });
  return { portal, shop, session, clientWith };
}

it("the SDK's client and app server speak TLS with the relay, and with nobody else (M9, M14)", async () => {
  const { portal, shop, session, clientWith } = await open();
  expect(shop.uri).toMatch(/^sip:127\.0\.0\.1:\d+;transport=tls$/);
  const mine = await clientWith(ca.cert).request("wine");
  expect(mine.access).toBe("https://shop.example/1");
  await (await session).charge({ item: "Riesling", unitPrice: "12.50", currency: "EUR" });
  await (await session).end();
  expect((await mine.ended).by).toBe("remote");
  expect(lines(await portal.bill())).toEqual(["wine, ended by server: 0", "1 x Riesling by info: 12.50 EUR"]);
});

it("the SDK's client says nothing to a relay whose certificate it does not trust", async () => {
  const { clientWith } = await open();
  await expect(clientWith(authority().cert).request("wine")).rejects.toMatchObject({ status: 503 });
});
