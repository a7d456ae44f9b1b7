// shop.mjs: a web shop whose URL carries a token of its own for each session: whoever has it is that customer
import { randomBytes } from "node:crypto";
import { createServer } from "node:http";
import { serve } from "tollgate/sdk";

const prices = { Riesling: "12.50", Rioja: "24.50" };
const visits = new Map(); // the session by its token

const wine = async (request) => {
  const token = randomBytes(16).toString("base64url");
  const session = await request.accept({ url: `http://127.0.0.1:8081/${token}/` });
  visits.set(token, session);
  await session.ended;
  visits.delete(token); // from now on the URL leads nowhere
};
await serve({ listen: { host: "127.0.0.1", port: 5073 }, services: { merlot: wine } });

createServer(async (asked, answer) => {
  const [, token, item] = asked.url.split("/");
  const session = visits.get(token);
  if (!session) return answer.writeHead(404).end("This visit is over.\n");
  if (asked.method !== "POST") return answer.end(`${Object.keys(prices).join(", ")}: POST to buy one\n`);
  if (!Object.hasOwn(prices, item)) return answer.writeHead(404).end("We have no such bottle.\n");
  try {
    await session.charge({ item, unitPrice: prices[item], currency: "EUR" });
    answer.end(`${item} is yours.\n`);
  } catch (error) {
    answer.writeHead(402).end(`${item} is not sold to you: ${error.detail ?? error.message}\n`);
  }
}).listen(8081, "127.0.0.1", () => console.log("open"));

// Says:
//   open
