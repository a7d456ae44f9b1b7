// server.mjs
import { serve } from "tollgate/sdk";

const server = await serve({
  listen: { host: "127.0.0.1", port: 5070 },
  services: {
    wine: async (request) => {
      const session = await request.accept({ url: "http://127.0.0.1:8080/cellar" });
      await session.charge({ item: "Riesling", unitPrice: "12.50", quantity: 2, currency: "EUR" });
      await session.end();
    },
  },
});
console.log(`wine is served at ${server.uri} to those that the relay sends`);
