import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { expect, it, onTestFinished } from "vitest";
import { createClient } from "../../src/sdk/index.ts";
import { DOMAIN, openPortal, PASSWORD, USER } from "../e2e/portal.ts";
import { authority, certificateFolder } from "../support/certificates.ts";

it("an app server is asked by HTTPS if its certificate is of tls.ca and names its host, as the file is then (M5)", async () => {
  const files = certificateFolder(["IP:127.0.0.1"]);
  const shop = createServer({ cert: readFileSync(files.cert), key: readFileSync(files.key) }, (request, response) => {
    request.resume().on("end", () => response.end('{"url":"https://shop.example/basket"}'));
  });
  shop.listen(0, "127.0.0.1");
  await once(shop, "listening");
  const { port } = shop.address() as AddressInfo;
  const strangers = certificateFolder(["IP:127.0.0.1"]);
  writeFileSync(strangers.ca, authority().cert);
  const portal = await openPortal({
    config: {
      tls: { ca: strangers.ca },
      identity: { url: "http://127.0.0.1:1" },
      services: [{ id: "wine" }],
      appServers: [{ id: "shop", uri: `https://127.0.0.1:${port}/tollgate`, services: ["wine"] }],
    },
  });
  const alice = createClient({ relay: portal.uri, user: USER, password: PASSWORD, domain: DOMAIN });
  onTestFinished(async () => {
    await alice.close();
    await portal.close();
    shop.closeAllConnections();
    shop.close();
  });
  await expect(alice.request("wine")).rejects.toMatchObject({ status: 500 });
  writeFileSync(strangers.ca, readFileSync(files.ca));
  await portal.relay.reload();
  const session = await alice.request("wine");
  expect(session.access).toBe("https://shop.example/basket");
  expect(await session.end()).toMatchObject({ status: 200 });
});
