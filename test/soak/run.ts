import { parseArgs } from "node:util";
import { soak } from "./soak.ts";

const USAGE = `npm run soak -- [options]

  --minutes N    how long (60)
  --standing N   sessions that stand meanwhile, by UDP (10000)
  --calls N      further calls by UDP in a second (60)
  --flows N      flows in a second by TCP, TLS, WebSocket, secure WebSocket: call, change, move, fork, an app server that
                 speaks HTTP, a prepaid user (10). Together with the calls about half of what one core can do`;

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "60" },
    standing: { type: "string", default: "10000" },
    calls: { type: "string", default: "60" },
    flows: { type: "string", default: "10" },
    help: { type: "boolean", default: false },
  },
});

async function main(): Promise<number> {
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  const checks = await soak({
    minutes: Number(values.minutes),
    standing: Number(values.standing),
    calls: Number(values.calls),
    flows: Number(values.flows),
    say: console.error,
  });
  for (const { what, is, holds } of checks) console.log(`${holds ? "yes" : "NO "}  ${what}: ${is}`);
  return checks.every(({ holds }) => holds) ? 0 : 1;
}

process.exit(await main());
