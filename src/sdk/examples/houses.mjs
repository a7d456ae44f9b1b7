// houses.mjs: two app servers, for refusal.mjs, fork.mjs, change.mjs and move.mjs
import { serve } from "tollgate/sdk";

const open = (request) => request.accept({ url: `http://127.0.0.1:8080/${request.service}` });
const absinthe = (request) => request.refuse(486, "Sold Out");
const tasting = async (request) => {
  const session = await open(request);
  await session.change("cider"); // another service of this app server, if the client agrees
  await session.refer("sip:beer@localhost"); // on to a partner
};
const listen = (port) => ({ host: "127.0.0.1", port });
await serve({ listen: listen(5071), services: { cider: open, tasting, absinthe, books: open } });
await serve({ listen: listen(5072), services: { beer: open, books: open } });
console.log("open");

// Says:
//   open
