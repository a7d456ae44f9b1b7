// move.mjs: a second session, first as the client likes, then as the app server likes
import { createClient } from "tollgate/sdk";

let sentOn;
const moved = new Promise((resolve) => {
  sentOn = resolve;
});
const account = { domain: "localhost", user: "alice", password: "correct horse" };
const onSession = (session, from) => sentOn({ session, from });
const client = createClient({ relay: "sip:127.0.0.1:5060;transport=tcp", ...account, onSession });

const first = await client.request("cider");
const second = await first.move("beer", { keep: true }); // without keep the first one ends
console.log(`${first.service} goes on beside ${second.service}`);
await Promise.all([first.end(), second.end()]);

await client.request("tasting");
const { session, from } = await moved;
console.log(`sent on from ${from.service} to ${session.service}`);
await session.end();
await client.close();

// Says:
//   cider goes on beside beer
//   sent on from cider to beer
