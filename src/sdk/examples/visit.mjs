// visit.mjs: a client that hangs up itself
import { once } from "node:events";
import { createClient } from "tollgate/sdk";

const account = { domain: "localhost", user: "alice", password: "correct horse" };
const client = createClient({ relay: "sip:127.0.0.1:5060;transport=tcp", ...account });

const session = await client.request("wine");
console.log(`open ${session.access}; Enter hangs up`);
await once(process.stdin, "data");
process.stdin.destroy();
const { status } = await session.end();
console.log(`hung up: ${status}`);
await client.close();

// Says:
//   open http://127.0.0.1:8080/cellar; Enter hangs up
//   hung up: 200
