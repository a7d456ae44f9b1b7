// lesson.mjs: an English lesson. Its time is charged by the tariff of the service; the book is not
import { serve } from "tollgate/sdk";

const english = async (request) => {
  const pupil = request.user?.replace(/^sip:|@.*/g, "");
  const session = await request.accept({ url: `http://127.0.0.1:8082/room/${pupil}` });
  console.log(`${pupil} has come`);
  session.onEnd(() => [{ id: "book", item: "Exercise book", unitPrice: "4.90", currency: "EUR" }]);
  const { by } = await session.ended; // the teacher may hang up, too: session.end()
  console.log(`${pupil} has left: ${by}`);
};
await serve({ listen: { host: "127.0.0.1", port: 5074 }, services: { english } });
console.log("open");

// Says:
//   open
//   alice has come
//   alice has left: remote
