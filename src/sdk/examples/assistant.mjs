// assistant.mjs: a voice assistant. Its minutes are charged by the tariff of the service, its tokens by what it says
import { serve } from "tollgate/sdk";

/** In the place of a model: the answer, and how many tokens it took. */
const think = async (asked) => ({ text: `You said: ${asked}`, tokens: 1_000 * asked.length });

const assistant = async (request) => {
  const session = await request.accept({ url: "ws://127.0.0.1:8083/voice" });
  for (const [turn, asked] of ["Good morning", "What is a tollgate?"].entries()) {
    const { text, tokens } = await think(asked);
    // One charge for each turn, under an id of its own: sent twice, it is charged once.
    await session.charge({
      id: `turn-${turn}`,
      item: "Tokens",
      unitPrice: "0.00002",
      quantity: tokens,
      currency: "EUR",
    });
    console.log(text);
  }
  await session.end();
};
await serve({ listen: { host: "127.0.0.1", port: 5075 }, services: { assistant } });
console.log("open");

// Says:
//   open
//   You said: Good morning
//   You said: What is a tollgate?
