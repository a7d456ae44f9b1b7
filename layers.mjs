/*
 * The layers, from the top down. A room may import from itself and from what stands below it, also types, and from
 * nothing else: `npm run check` says so. What stands on one line does not know the other. A file that stands for itself
 * is a room of its own.
 */
export const LAYERS = [
  // Who starts it all.
  ["src/cli"],
  // HTTP: for app servers, operators and monitoring.                     What app servers and clients are written with.
  ["src/console", "src/sdk"],
  // What operators do and look at: the same by command and by HTTP.
  ["src/operations"],
  // One node: puts the parts together, starts and stops them, goes on after a crash.
  ["src/node"],
  // The SIP part of app servers that speak HTTP.
  ["src/app-servers"],
  // Which nodes there are.
  ["src/cluster"],
  // The one switch: which message goes where.
  ["src/relay/router.ts"],
  // What the charts' actions do.
  ["src/relay/actions"],
  // REFER: the client goes to another session. Change: another app server takes over within the session.
  ["src/relay/transfer"],
  ["src/relay/change"],
  // A client's INVITE until one app server has it.
  ["src/relay/request"],
  // A session: two dialogs, and what passes between them.
  ["src/relay/session"],
  // Its books and its prepaid balance.
  ["src/relay/charges"],
  // REGISTER: where clients are.
  ["src/relay/registrar"],
  // Descriptions of media, on their way through a media relay.
  ["src/relay/media"],
  // A leg of a session. Who a peer is, what of it is taken, and what a refusal becomes.
  ["src/relay/leg"],
  // What all of the above share, and what they see of a session.
  ["src/relay/model"],
  // A dialog as data (RFC 3261 §12), where its peer may be, and what crosses from one side to the other.
  ["src/relay/dialog"],
  // How much each source and user may ask for.
  ["src/relay/admission"],
  // The configuration as it is read, checked and explained.
  ["src/config"],
  // What is registered, who signs in, what the rules say.                Signed proof of who a user is.
  ["src/directory", "src/identity"],
  // Embedded, or MongoDB.
  ["src/store"],
  // What one session was charged.                                       Bills and settlements.
  ["src/charging/charges", "src/charging/bills"],
  ["src/charging/billing"],
  //                                                                     Usage, by HTTP, to those who meter and bill.
  ["src/charging/credit", "src/charging/journal", "src/usage"],
  ["src/bus"],
  // What is seen of calls while they run, and captures of it.            Traces for OpenTelemetry, of what has ended.
  ["src/trace", "src/telemetry"],
  // The statecharts. They see types only.
  ["machines"],
  ["src/directory/types.ts"],
  // What is put on record: for the bill, and of each request for those who ask what became of it.
  ["src/charging/events", "src/calls", "src/registrar"],
  ["src/charging/money"],
  // RFC 3261 §17, §18, and messages as bytes.
  ["src/transaction"],
  //                                                                     Commands to media relays.
  ["src/transport", "src/media"],
  ["src/sip", "src/chart"],
  ["src/support"],
];
