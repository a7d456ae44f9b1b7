import type { Config } from "../config/schema.ts";
import { Api } from "../console/api.ts";
import type { Relay } from "../node/relay.ts";
import type { Caller } from "../operations/context.ts";
import { createToken } from "../operations/tokens.ts";
import type { Logger } from "../support/log.ts";
import { TestCalls } from "./test-calls.ts";

/** Where the console is, if nobody else is there. */
const PORT = 8_088;

export interface OpenConsole {
  /** The page's address, with a token of an operator behind the `#`, where it is not sent to anybody. */
  readonly url: string;
  close(): Promise<void>;
}

/** Serves the console of a relay that runs in this process, on this machine alone. `port`: default 8088, else any. */
export async function openConsole(config: Config, relay: Relay, log: Logger, port = PORT): Promise<OpenConsole> {
  const testCalls = new TestCalls(config, relay, (error) => log.warn({ err: error }, "a test call failed"));
  const operated = {
    ...relay,
    testCall: (what: Parameters<TestCalls["place"]>[0]) => testCalls.place(what),
    drain: () => {
      throw new Error("the demo's relay is stopped by Ctrl-C");
    },
  };
  const context = (caller: Caller) => ({
    ...{ config, configName: "the demo", store: relay.store, relay: operated, caller, now: () => Date.now() },
  });
  const api = new Api({
    ...{ config, log, context },
    watch: (viewer) => relay.watch.watch(viewer),
    watchAround: (...asked) => relay.watch.around(...asked),
  });
  api.serve(relay);
  const owner: Caller = { name: "demo", role: "owner", from: "this process" };
  const { token } = await createToken.run(context(owner), { name: "demo", role: "operator", expiresDays: 1 });
  await relay.reload();
  const at = (on: number) => api.listen({ address: "127.0.0.1", port: on });
  const http = await at(port).catch(() => at(0));
  return {
    url: `http://127.0.0.1:${http.port}/console/#/calls?token=${token}`,
    async close() {
      api.close();
      await testCalls.close();
      await http.close();
    },
  };
}
