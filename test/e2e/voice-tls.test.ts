import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { parse } from "yaml";
import { type AppSession, createClient, serve } from "../../src/sdk/index.ts";
import { authority, certificateFolder } from "../support/certificates.ts";
import { freePort } from "../support/peers.ts";
import { ROOT } from "../support/project.ts";
import { DOMAIN, lines, openPortal, PASSWORD, USER } from "./portal.ts";

describe("an AI voice service reached over TLS, by ops/front/voice.yaml", () => {
  it("is asked by its account, with proof of the user, charges, and is spoken to by TLS alone", async () => {
    const ca = authority();
    const files = certificateFolder([`DNS:${DOMAIN}`, "IP:127.0.0.1"], ca);
    const http = await freePort();
    let began!: (session: Promise<AppSession>) => void;
    const session = new Promise<AppSession>((resolve) => {
      began = resolve;
    });
    const seen: { user: string | undefined }[] = [];
    const voice = await serve({
      listen: { host: "127.0.0.1", port: 0 },
      tls: { ...ca.issue({ names: ["DNS:localhost"] }), ca: ca.cert },
      proof: false,
      services: {
        assistant: (request) => {
          seen.push({ user: request.user });
          began(request.accept({}));
        },
      },
    });
    const port = /:(\d+);/.exec(voice.uri)![1]!;
    const text = readFileSync(join(ROOT, "ops/front/voice.yaml"), "utf8")
      .replace("voice.example:5061", `localhost:${port}`)
      .replace("127.0.0.1:5061", "127.0.0.1:0")
      .replaceAll("127.0.0.1:8443", `127.0.0.1:${http}`)
      .replaceAll("fullchain.pem", files.cert)
      .replaceAll("privkey.pem", files.key);
    const config = parse(text) as Record<string, object>;
    const portal = await openPortal({ config: { ...config, tls: { ...config.tls, ca: files.ca } } });
    onTestFinished(async () => {
      await portal.close();
      await voice.close();
    });
    const { port: sips } = portal.relay.addresses[0]!;
    const relay = `sips:127.0.0.1:${sips}`;
    const client = createClient({ relay, tls: { ca: ca.cert }, user: USER, password: PASSWORD, domain: DOMAIN });
    onTestFinished(() => client.close());
    const mine = await client.request("assistant");
    await (await session).charge({ item: "tokens", unitPrice: "0.50", currency: "EUR" });
    await (await session).end();
    await mine.ended;
    expect(seen).toHaveLength(1);
    expect(lines(await portal.bill())).toContain("1 x tokens by info: 0.50 EUR");
  });
});
