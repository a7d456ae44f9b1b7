// client.mjs
import { createClient } from "tollgate/sdk";

const client = createClient({
  relay: "sip:127.0.0.1:5060;transport=tcp",
  domain: "localhost",
  user: "alice",
  password: "correct horse",
});
const session = await client.request("wine");
console.log(`open ${session.access}`);
const { by } = await session.ended;
console.log(`hung up: ${by}`);
await client.close();
