// customer.mjs: buys in shop.mjs, in a shop without the SDK (shop.py, http-shop.php), and comes back when it is over
import { createClient } from "tollgate/sdk";

const account = { domain: "localhost", user: "alice", password: "correct horse" };
const client = createClient({ relay: "sip:127.0.0.1:5060;transport=tcp", ...account });

const session = await client.request(process.argv[2] ?? "merlot");
const page = async (path, method) => (await fetch(session.access + path, { method })).text();
process.stdout.write(await page("", "GET"));
process.stdout.write(await page("Riesling", "POST"));
await session.end();
process.stdout.write(await page("Riesling", "POST"));
await client.close();

// Says:
//   Riesling, Rioja: POST to buy one
//   Riesling is yours.
//   This visit is over.
