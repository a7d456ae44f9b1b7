/*
 * For each state: a test that shows it, the RFC section that it obeys, and the source file that does its work. `npm run
 * machines` writes them into README.md. A test checks that each state is listed here, and that each test and file
 * exists.
 */

/** One state. */
export interface StateLinks {
  /** What the state is, for the page. */
  readonly is: string;
  /** The title of a test in test/machines/<chart>.test.ts. */
  readonly test: string;
  /** Numbers of RFCs with their section, such as `3261 §9.1`. */
  readonly rfc?: readonly string[];
  /** The file that does the state's work, as a path from the top of the repository. */
  readonly source: string;
}

const REQUEST = "src/relay/request/request.ts";
const INVITATION = "src/relay/request/invitation.ts";
const SESSION = "src/relay/actions/session.ts";
const HANG_UP = "src/relay/session/hang-up.ts";
const TRANSFER = "src/relay/transfer/transfer.ts";
const BILLING = "src/charging/billing/billing.ts";

/** By chart, and by the state's path in it. States that only contain other states are left out. */
export const chartLinks: Readonly<Record<string, Readonly<Record<string, StateLinks>>>> = {
  request: {
    authenticating: {
      is: "The relay checks whether the client is a registered user.",
      test: "authenticates, identifies, searches and invites, in this order (M2-M5)",
      rfc: ["3261 §22"],
      source: "src/relay/leg/sign-in.ts",
    },
    identifying: {
      is: "The rules say which service is meant.",
      test: "rejects what no rule knows (M3)",
      source: "src/directory/rules.ts",
    },
    searching: {
      is: "App servers that offer the service are looked for.",
      test: "rejects with 404 where nobody offers the service (M4)",
      rfc: ["3261 §16.5"],
      source: "src/directory/directory.ts",
    },
    reserving: {
      is: "A prepaid user's balance is asked before any app server is.",
      test: "holds credit of a prepaid user before anybody is asked, and asks those that there is credit for",
      rfc: ["3261 §21.4.3"],
      source: "src/relay/charges/credits.ts",
    },
    inviting: {
      is: "App servers are asked, one after the other or all at once.",
      test: "asks the next server when one fails, and the last failure ends it (M5)",
      rfc: ["3261 §16.6", "3261 §16.7"],
      source: REQUEST,
    },
    collecting: {
      is: "One success was passed on to the client, and each further one will be.",
      test: "waits only so long for further successes (M25; RFC 6026 §7.1)",
      rfc: ["6026 §7.1"],
      source: REQUEST,
    },
    declined: {
      is: "An app server answered 6xx: the other branches are cancelled, and their final answers awaited.",
      test: "withdraws the others at a 6xx and waits for their ends before it says so (RFC 3261 §16.7, step 5)",
      rfc: ["3261 §16.7"],
      source: REQUEST,
    },
    refused: {
      is: "The last branch asked has failed: was a success passed on before, or is there another app server to ask?",
      test: "asks nobody else after a 6xx (RFC 3261 §16.7)",
      rfc: ["3261 §16.7"],
      source: REQUEST,
    },
    answered: {
      is: "At least one app server accepted; its session goes on.",
      test: "is answered by the first success of one server after the other (M5)",
      rfc: ["3261 §13.3.1.4"],
      source: REQUEST,
    },
    rejected: {
      is: "The client was answered with a failure.",
      test: "rejects who is not a user and asks nobody (M2)",
      rfc: ["3261 §8.2"],
      source: REQUEST,
    },
    cancelled: {
      is: "The client has given the request up, or is gone.",
      test: "goes on without a branch whose early dialog the client ended; without the last it is cancelled (RFC 3261 §15)",
      rfc: ["3261 §9.2"],
      source: REQUEST,
    },
  },
  session: {
    "inviting.proceeding.steady": {
      is: "The app server was asked and has not decided.",
      test: "asks the app server, relays progress, answer and ACK, and starts the clock with the ACK (M5-M7, M12)",
      rfc: ["3261 §13.2"],
      source: INVITATION,
    },
    "inviting.proceeding.changing": {
      is: "An UPDATE is under way in the early dialog; another one is refused until it is done.",
      test: "relays an UPDATE in the early dialog, and refuses another until it is done (RFC 3311 §5.2)",
      rfc: ["3311 §5.2"],
      source: "src/relay/session/modification.ts",
    },
    "inviting.withdrawing": {
      is: "Cancelled because another app server answered 6xx; a 2xx that crosses the CANCEL still counts.",
      test: "is withdrawn after a 6xx elsewhere: cancelled, but a 2xx that crosses the CANCEL counts (RFC 3261 §16.7, step 5)",
      rfc: ["3261 §16.7"],
      source: INVITATION,
    },
    cancelling: {
      is: "Nobody waits for the app server's answer any more, but a 2xx may be on its way.",
      test: "cancels, and ends an answer that crossed the CANCEL (RFC 3261 §9.1, M8)",
      rfc: ["3261 §9.1"],
      source: INVITATION,
    },
    answered: {
      is: "The 2xx was passed on; the client's ACK is awaited.",
      test: "ends both legs when no ACK comes, and charges nothing (RFC 3261 §13.3.1.4)",
      rfc: ["3261 §13.3.1.4"],
      source: "src/relay/dialog/answer.ts",
    },
    "established.steady": {
      is: "Client and app server are connected; the clock runs.",
      test: "takes charges while it lasts and until it has ended (M14)",
      rfc: ["3261 §12.2", "6086 §4"],
      source: SESSION,
    },
    "established.changing": {
      is: "A re-INVITE or UPDATE is under way; another one is refused until it is done.",
      test: "relays a change, and refuses another until it is done (RFC 3261 §14.2)",
      rfc: ["3261 §14.2"],
      source: "src/relay/session/modification.ts",
    },
    "established.refreshing": {
      is: "The relay refreshes the session with one end; a change is refused until that is done.",
      test: "refreshes with one end, and refuses a change until that is done (RFC 4028 §10)",
      rfc: ["4028 §10"],
      source: "src/relay/session/refresh.ts",
    },
    "established.asking": {
      is: "Another service is asked for while this one goes on.",
      test: "asks for another service beside the present one, which goes on when that is refused (M20, M21; RFC 6141)",
      rfc: ["6141 §3"],
      source: "src/relay/change/service-change.ts",
    },
    terminating: {
      is: "One end hung up; its BYE was passed on, and the other end's answer is awaited.",
      test: "stops the clock when BYE was sent if its answer never comes (M12)",
      rfc: ["3261 §15.1"],
      source: HANG_UP,
    },
    leaving: {
      is: "The relay ends the session by itself, and waits for the answers.",
      test: "gives way to the part that has taken the client over: BYE to the app server left, none to the client (M21)",
      rfc: ["3261 §15.1"],
      source: HANG_UP,
    },
    refused: {
      is: "The app server refused, or its answer is not wanted any more: there is no session.",
      test: "tells the request that the app server refused (M5)",
      rfc: ["3261 §13.2.2.3"],
      source: INVITATION,
    },
    terminated: {
      is: "The session is over, and its end is on record.",
      test: "answers a BYE that crosses another",
      rfc: ["3261 §15.1.2"],
      source: HANG_UP,
    },
  },
  transfer: {
    checking: {
      is: "The REFER is read, and the relay checks whether it is allowed.",
      test: "refuses what may not be, and nothing follows",
      rfc: ["3515 §2.4.2"],
      source: "src/relay/transfer/referral.ts",
    },
    asking: {
      is: "The second service is looked for, and its app servers are asked.",
      test: "reports a refusal of the second app server, and ends",
      rfc: ["3515 §2.4.4", "7647 §5"],
      source: TRANSFER,
    },
    inviting: {
      is: "The second app server has accepted; the client gets an INVITE for the new dialog with it.",
      test: "ends the second app server's side when the client does not take it",
      rfc: ["3725 §4"],
      source: "src/relay/transfer/client-invitation.ts",
    },
    moved: {
      is: "The second session is established.",
      test: "takes the REFER, asks the second app server, invites the client, and connects the two (M23)",
      rfc: ["3515 §2.4.5"],
      source: "src/relay/session/move.ts",
    },
    failed: {
      is: "The move has failed; the first session goes on.",
      test: "takes its INVITE to the client back when the second app server hangs up",
      rfc: ["3515 §2.4.5"],
      source: "src/relay/transfer/reports.ts",
    },
    refused: {
      is: "The REFER was answered with a failure.",
      test: "refuses what may not be, and nothing follows",
      rfc: ["3515 §2.4.2"],
      source: "src/relay/transfer/refer-requests.ts",
    },
  },
  billing: {
    open: {
      is: "The start has not come yet; charges may have.",
      test: "waits open for the start, runs, and closes with the end where there is no time for late charges",
      source: BILLING,
    },
    running: {
      is: "The session has started and has not ended.",
      test: "notes start, end and who ended it",
      source: BILLING,
    },
    chargeable: {
      is: "The session has ended, but its app server may still send late charges.",
      test: "stays chargeable until its time for late charges is over (M15)",
      source: "src/charging/billing/account.ts",
    },
    closed: {
      is: "The time for late charges is over; a charge that the relay took in time is still entered.",
      test: "enters a charge in every state: whoever answered for it had looked whether it was in time (M14, M16)",
      source: "src/charging/billing/entries.ts",
    },
  },
};
