import type { Config } from "../../config/schema.ts";
import { startRelay } from "../../node/relay.ts";
import { dataFolder } from "../../store/data-folder.ts";
import { createLogger } from "../../support/logger.ts";
import { labelOf } from "./ladder.ts";
import type { FromNode } from "./second-node.ts";

/* A node of the demo's cluster in a process of its own, which the demo kills. It says what passes over the wire. */

const say = (what: FromNode): void => void process.send?.(what);

process.once("message", async (config: Config) => {
  const log = createLogger({ level: "warn", pretty: true, to: process.stderr });
  dataFolder(config.data);
  const relay = await startRelay({
    config,
    log,
    tap: ({ direction, peer, message, at }) => say({ kind: "passed", direction, peer, label: labelOf(message), at }),
  });
  const portOf = (transport: string) => relay.addresses.find((one) => one.transport === transport)?.port;
  say({ kind: "started", port: portOf("tcp")!, webSocketPort: portOf("ws") });
});
process.once("disconnect", () => process.exit());
