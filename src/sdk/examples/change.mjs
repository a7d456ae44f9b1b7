// change.mjs: another service in the same session, first as the client likes, then as the app server likes
import { createClient } from "tollgate/sdk";

const account = { domain: "localhost", user: "alice", password: "correct horse" };
const client = createClient({ relay: "sip:127.0.0.1:5060;transport=tcp", ...account });

const session = await client.request("cider");
await session.change("beer"); // the brewery has it, so the cellar is left
console.log(`${session.service}: ${session.access}`);
await session.end();

const tasting = await client.request("tasting");
await new Promise((resolve) => {
  tasting.onChange(async (asked) => resolve(await asked.accept())); // or asked.refuse(488)
});
console.log(`changed to ${tasting.service}`);
await tasting.end();
await client.close();

// Says:
//   beer: http://127.0.0.1:8080/beer
//   changed to cider
