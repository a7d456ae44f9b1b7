import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { build } from "esbuild";
import type { Page } from "playwright-core";
import { onTestFinished } from "vitest";
import { launchChromium } from "../support/chromium.ts";

/** For a page's script that imports SIP.js: an agent that has connected, and its call to a service once it stands. */
export const SIP_JS = `
  const agentOf = async ({ url, user, domain, password }) => {
    const ua = new SIP.UserAgent({
      uri: SIP.UserAgent.makeURI("sip:" + user + "@" + domain),
      transportOptions: { server: url },
      authorizationUsername: user,
      authorizationPassword: password,
    });
    await ua.start();
    return ua;
  };
  const callTo = async (ua, uri) => {
    const inviter = new SIP.Inviter(ua, SIP.UserAgent.makeURI(uri));
    await new Promise((resolve, reject) => {
      inviter.stateChange.addListener((state) => {
        if (state === "Established") resolve();
        if (state === "Terminated") reject(new Error("SIP.js: the call was refused"));
      });
      inviter.invite();
    });
    return inviter;
  };
`;

/** A page in Chromium that has run `script`, which may import packages. `switches`: of Chromium's command line. */
export async function openPage(script: string, { switches = [] as readonly string[] } = {}): Promise<Page> {
  const bundle = await build({
    stdin: { contents: script, resolveDir: join(import.meta.dirname, "../..") },
    bundle: true,
    write: false,
    format: "iife",
    logLevel: "silent",
  });
  const browser = await launchChromium([...switches]);
  onTestFinished(() => browser.close());
  // The relay's certificate is the test's own.
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const page = await context.newPage();
  // Of this machine: a browser gives pages from elsewhere no microphone without TLS, and no way to this machine.
  const server = createServer((_, response) => response.end("<!doctype html><title>shop</title>"));
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  await page.addScriptTag({ content: bundle.outputFiles[0]!.text });
  return page;
}
