// A way by TCP to other servers, as a process of its own: while it is stopped (SIGSTOP), whoever uses the way is cut
// off. Nothing is refused and nothing arrives, as on a network that swallows packets; what waits comes later.
// Arguments: <port here>:<port there>...
import { connect, createServer } from "node:net";

const ways = process.argv.slice(2).map((way) => way.split(":").map(Number));
let open = 0;
for (const [here, there] of ways) {
  const server = createServer({ noDelay: true }, (near) => {
    const far = connect({ port: there, host: "127.0.0.1", noDelay: true });
    for (const [one, other] of [
      [near, far],
      [far, near],
    ]) {
      one.on("error", () => other.destroy());
      one.on("close", () => other.destroy());
    }
    near.pipe(far).pipe(near);
  });
  server.listen(here, "127.0.0.1", () => {
    if (++open === ways.length) console.log("link open");
  });
}
process.stdin.resume().on("end", () => {});
