// refusal.mjs: what a client gets that does not get a session
import { createClient, SipError } from "tollgate/sdk";

const relay = "sip:127.0.0.1:5060;transport=tcp";
const ask = async (password, service) => {
  const client = createClient({ relay, domain: "localhost", user: "alice", password });
  try {
    await client.request(service);
  } catch (error) {
    if (!(error instanceof SipError)) throw error;
    console.log(`${service}: ${error.status} ${error.reason}`);
  } finally {
    await client.close();
  }
};
await ask("correct horse", "absinthe"); // the app server's word
await ask("correct horse", "mead"); // a service that is not there
await ask("wrong", "cider"); // no sign-in

// Says:
//   absinthe: 486 Sold Out
//   mead: 404 Service Not Found
//   cider: 401 Unauthorized
