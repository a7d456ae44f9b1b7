import { expect, it, onTestFinished } from "vitest";
import { startDev } from "../../src/cli/dev.ts";
import { createClient, serve } from "../../src/sdk/index.ts";

const OPTIONS = { service: "wine", port: "0", user: "alice", password: "correct horse" };

async function called(options: Partial<typeof OPTIONS & { appServer: string }> = {}) {
  const lines: string[] = [];
  const dev = await startDev({ ...OPTIONS, ...options }, (line) => void lines.push(line), false);
  const account = { domain: "localhost", user: "alice", password: "correct horse" };
  const client = createClient({ relay: `sip:127.0.0.1:${dev.port};transport=tcp`, ...account });
  await (await client.request("wine")).end();
  await client.close();
  const bill = await dev.stop();
  return { lines, bill };
}

it("tollgate dev says how to call, draws each call, and ends with the bill", async () => {
  const { lines, bill } = await called();
  const text = lines.join("\n");
  expect(text).toMatch(/^user {8}alice, password "correct horse"$/m);
  expect(text).toMatch(/^service {5}sip:wine@localhost$/m);
  expect(text).toMatch(/^Call 1: \S+$/m);
  for (const arrow of ["INVITE wine", "401 Unauthorized", "INVITE wine, signed", "200 OK, URL inside", "ACK", "BYE"])
    expect(text).toContain(`-- ${arrow} -`);
  expect(text.match(/^Call \d/gm)).toHaveLength(1);
  expect(bill).toContain("Bill for alice");
});

it("tollgate dev asks the app server that it is told of", async () => {
  const server = await serve({
    listen: { host: "127.0.0.1", port: 0 },
    services: {
      wine: async (request) => {
        const session = await request.accept();
        session.onEnd(() => [{ item: "Cork", unitPrice: "1.00", currency: "EUR" }]);
      },
    },
  });
  onTestFinished(() => server.close());
  const { bill, lines } = await called({ appServer: server.uri });
  expect(bill).toContain("Cork");
  expect(lines.join("\n")).toMatch(/\|<?[^|]*\|.*200 OK \(BYE\), charges/);
});

it("tollgate dev refuses an app server that is none, and leaves nothing behind", async () => {
  await expect(startDev({ ...OPTIONS, appServer: "shop" }, () => {}, false)).rejects.toThrow("a SIP URI such as");
  await expect(startDev({ ...OPTIONS, port: "x" }, () => {}, false)).rejects.toThrow("--port");
});

it.each([
  [{ appServer: "nonsense" }, /^--app-server: expected a SIP URI such as .*$/],
  [{ service: "../x" }, /^--service: expected an id of .*$/],
  [{ user: "a:b" }, /^--user: expected a user id as in .*$/],
  [{ user: "" }, /^--user: expected /],
  [{ port: "" }, /^--port: expected a port; found ""$/],
])("tollgate dev names the option that is wrong, once: %j", async (wrong, message) => {
  await expect(startDev({ ...OPTIONS, ...wrong }, () => {}, false)).rejects.toThrow(message);
});
