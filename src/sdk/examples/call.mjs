// call.mjs: a client that stays until the app server hangs up, or hangs up itself after a moment
import { createClient } from "tollgate/sdk";

const account = { domain: "localhost", user: "alice", password: "correct horse" };
const client = createClient({ relay: "sip:127.0.0.1:5060;transport=tcp", ...account });

const session = await client.request(process.argv[2] ?? "english");
setTimeout(() => session.end(), 2000);
const { by } = await session.ended;
console.log(`${session.access}: ${by}`);
await client.close();

// Says:
//   http://127.0.0.1:8082/room/alice: local
