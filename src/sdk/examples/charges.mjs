// charges.mjs: an app server that charges while the session lasts and at its end, and is told no
import { SipError, serve } from "tollgate/sdk";

const bottle = { item: "Riesling", unitPrice: "12.50", currency: "EUR" };

const wine = async (request) => {
  const session = await request.accept({ url: "http://127.0.0.1:8080/cellar" });
  session.onEnd(() => [{ item: "Corkage", unitPrice: "4", currency: "EUR" }]); // in the answer to the client's BYE
  await session.charge({ id: "order-1", quantity: 2, ...bottle });
  await session.charge({ id: "order-1", quantity: 2, ...bottle }); // the same id: it is charged once
  try {
    await session.charge({ id: "order-2", quantity: 50, ...bottle }); // over the limit of a session
  } catch (error) {
    if (!(error instanceof SipError)) throw error;
    console.log(`not charged: ${error.status}`);
  }
};
await serve({ listen: { host: "127.0.0.1", port: 5070 }, services: { wine } });
console.log("open");

// Says:
//   open
//   not charged: 403
