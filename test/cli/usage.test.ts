import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { controlPath, startControl } from "../../src/console/control.ts";
import { openEmbeddedStore } from "../../src/store/embedded.ts";
import type { SinkStatus } from "../../src/usage/usage.ts";
import { facts, JANUARY, wholeSession } from "../charging/samples.ts";
import { apiKey, lago, type TestEndpoint } from "../usage/endpoints.ts";
import { Terminal } from "./terminal.ts";

const [, ended] = wholeSession(facts(), 60_000);
const id = `lago:${ended!.id}`;

let terminal: Terminal;
let endpoint: TestEndpoint;
const usage = (...argv: string[]) => terminal.tollgate(["usage", ...argv]);

beforeEach(async () => {
  terminal = new Terminal();
  endpoint = await lago().start();
  terminal.write("tollgate.yaml", `usage: [{ preset: lago, url: "${endpoint.url}", keyFile: key }]\n`);
  terminal.write("key", `${apiKey}\n`);
});
afterEach(async () => {
  await endpoint.stop();
  terminal.remove();
});

async function put(letterId = id, event: unknown = ended): Promise<void> {
  const store = await openEmbeddedStore(join(terminal.folder, "data", "store"));
  const letter = { id: letterId, sink: letterId.split(":")[0]!, at: JANUARY, reason: "status 422: no such plan" };
  await store.usage.put({ ...letter, event: JSON.stringify(event) });
  await store.close();
}

describe("tollgate usage", () => {
  it("lists what was put aside with its reason, and shows one", async () => {
    expect((await usage("list")).out).toBe("nothing was put aside\n");
    await put();
    expect((await usage("list")).out).toContain("status 422: no such plan");
    expect((await usage("list", "--sink", "stripe")).out).toBe("nothing was put aside\n");
    expect(JSON.parse((await usage("list", "--json")).out)).toMatchObject({ id, sink: "lago" });
    expect((await usage("show", id)).out).toContain('"durationMs": 60000');
    expect(await usage("show", "x")).toMatchObject({ code: 1, err: expect.stringContaining("no event x") });
  });

  it("sends it once more, and removes it when it is taken; what is not taken stays, with the reason", async () => {
    await put();
    endpoint.first.push({ status: 422, body: { error_details: { code: ["value_is_invalid"] } } });
    const refused = await usage("resend", id);
    expect(refused).toMatchObject({ code: 1, out: "0 sent\n", err: expect.stringContaining("value_is_invalid") });
    expect(await usage("resend", "all", "--sink", "lago")).toMatchObject({ code: 0, out: "1 sent\n" });
    expect(endpoint.taken).toEqual([ended!.id]);
    expect((await usage("list")).out).toBe("nothing was put aside\n");
  });

  it("counts as sent what the endpoint has already", async () => {
    endpoint.take(ended!.id);
    await put();
    expect((await usage("resend", "all")).out).toBe("1 sent\n");
  });

  it("says of which sink it knows nothing", async () => {
    await put(`old:${ended!.id}`);
    expect(await usage("resend", "all")).toMatchObject({
      code: 1,
      err: expect.stringContaining("there is no sink old"),
    });
    expect((await usage("drop", `old:${ended!.id}`)).out).toContain("dropped");
    expect(await usage("drop", `old:${ended!.id}`)).toMatchObject({ code: 1 });
  });

  it("shows how each endpoint is doing", async () => {
    mkdirSync(join(terminal.folder, "data"), { recursive: true });
    const status: SinkStatus = {
      ...{ sink: "lago", preset: "lago", url: "x", waiting: 7, oldestS: 12.4, delivered: 3, failures: 2 },
      ...{ deadLetters: 1, lost: 0, failing: "status 503" },
    };
    const control = await startControl({
      path: controlPath(join(terminal.folder, "data")),
      listener: (_, response) => response.end(JSON.stringify({ sinks: [status] })),
    });
    expect((await usage("status")).out).toMatch(/lago +lago +7 +12 s +3 +2 +1 +0 +status 503/);
    expect(JSON.parse((await usage("status", "--json")).out)).toEqual([status]);
    await control.close();
    expect(await usage("status")).toMatchObject({ code: 1, err: expect.stringContaining("no relay runs") });
  });

  it("has mistakes of the setting found by check-config", async () => {
    const mistakes = async (yaml: string) => {
      terminal.write("tollgate.yaml", `services: [{ id: wine }]\nusage:\n  - ${yaml}\n`);
      return (await terminal.tollgate(["check-config"])).err;
    };
    expect(await mistakes("{ preset: cloudevents }")).toContain("usage[0].url");
    expect(await mistakes("{ preset: lago, url: 'http://lago.example' }")).toContain("https");
    expect(await mistakes("{ preset: lago, keyFile: nowhere }")).toContain("usage[0].keyFile");
    expect(await mistakes("{ preset: lago, events: [session.started] }")).toContain("session.ended and charge.made");
    expect(await mistakes("{ preset: lago, services: [wien] }")).toContain("did you mean wine");
    expect(await mistakes("{ preset: lago, meters: { time: '{user}' } }")).toContain("service, appServer or currency");
    expect(await mistakes("{ preset: lago }\n  - { preset: lago }")).toContain("usage[1].id");
    expect(await mistakes("{ preset: cloudevents, url: 'https://u:p@x.example' }")).toContain("usage[0].url");
    expect(await mistakes("{ preset: lago, batchMost: 101 }")).toContain("usage[0].batchMost");
    expect(await mistakes("{ preset: lago, batchMost: 0 }")).toContain("usage[0].batchMost");
    expect(await mistakes("{ preset: stripe, batchMost: 2 }")).toContain("Stripe takes one meter event in a request");
    terminal.write("secret", "whsec_short\n");
    const secret = await mistakes("{ preset: cloudevents, url: 'https://x.example', secretFile: secret }");
    expect(secret).toContain("usage[0].secretFile");
    expect(secret).not.toContain("whsec_short");
  });
});
