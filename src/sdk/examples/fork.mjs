// fork.mjs: one request, a session with each app server that accepts
import { createClient } from "tollgate/sdk";

const account = { domain: "localhost", user: "alice", password: "correct horse" };
const client = createClient({ relay: "sip:127.0.0.1:5060;transport=tcp", ...account });

const shops = await client.requestAll("books", { max: 2 });
for (const shop of shops) console.log(`${shop.service}: ${shop.access}`);
await Promise.all(shops.map((shop) => shop.end()));
await client.close();

// Says:
//   books: http://127.0.0.1:8080/books
//   books: http://127.0.0.1:8080/books
