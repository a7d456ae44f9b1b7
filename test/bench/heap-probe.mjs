// Loaded into the relay by `node --import` where the benchmark measures memory: collects garbage when its parent asks, and
// says how much of the heap is in use then.
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc");

process.on("message", () => {
  collect();
  process.send(process.memoryUsage().heapUsed);
});
process.channel.unref(); // It must not keep the relay from ending.
