// Loaded into the relay by `node --import` where the benchmark measures memory: when its parent asks, collects garbage
// until the process has given back what it can, and says how much of the heap is in use then.
import { setTimeout as sleep } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc");

process.on("message", async () => {
  for (let times = 0; times < 4; times++) {
    collect();
    await sleep(150); // Pages are returned to the system in the background.
  }
  process.send(process.memoryUsage().heapUsed);
});
process.channel.unref(); // It must not keep the relay from ending.
