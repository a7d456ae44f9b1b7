import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { ROOT } from "./project.ts";

/*
 * decision 16: whoever needs to know how much time has passed asks the monotonic clock. These read the wall clock, and
 * why; a file that is not among them and reads it measures something by it, or has a reason that belongs here.
 */
const READERS: Readonly<Record<string, string>> = {
  "src/node/chart-counts.ts": "since when arrows are counted, for people who look",
  "src/node/kept-contacts.ts": "what is kept on disk outlives the process",
  "src/relay/registrar/register.ts": "Date in an answer",
  "src/node/cluster.ts": "which start of the node it is, where the data folder is from a backup",
  "src/node/recovery.ts": "how long no relay was there, where the machine itself was started anew: nothing else tells",
  "src/bus/nats-worker.ts": "when a dead letter was put aside",
  "src/charging/billing/billing.ts":
    "when a dead letter was put aside; which windows to look at, and a closed one takes what comes all the same",
  "src/charging/billing/hold-watch.ts": "which holds to look at: what becomes of them is measured",
  "src/charging/bills/rebill.ts": "when a balance was put right",
  "src/charging/billing/retention.ts": "what is so old that it is forgotten, and no further than the newest entry",
  "src/relay/charges/credit.ts": "the month of what is held before there is a session",
  "src/relay/charges/hold.ts": "until when a hold stands, for whoever starts later",
  "src/identity/key.ts": "whether a certificate is still valid",
  "src/identity/proof.ts": "`iat` of a PASSporT (RFC 8225 §5.1.1)",
  "src/relay/session/session.ts": "ids lie in the order of time, and nothing depends on it",
  "src/sdk/proof.ts": "how old a PASSporT is (RFC 8224 §6.2.3)",
  "src/store/clock-watch.ts": "what the store's server is compared with",
  "src/store/mongo-archive.ts": "archived events lie in the order of time, and nothing depends on it",
  "src/usage/delivery.ts": "when an event was put aside, and whether it is so old that it is given up, over restarts",
  "src/telemetry/exporter.ts": "how long it is until the date in a receiver's Retry-After",
  "src/usage/attempt.ts": "how long it is until the date in an endpoint's Retry-After",
  "src/usage/endpoint.ts": "`webhook-timestamp` of a request",
  "src/usage/usage.ts": "how old the oldest event is, for people",
  "src/calls/page-writer.ts": "when records were written, and which are so old that they are forgotten",
  "src/cluster/fence.ts": "a clock that is handed on; what waits behind the fence is measured",
  "src/config/cross-check.ts": "whether a certificate is still valid",
  "src/console/inspect.ts": "what an inspector shows as the time",
  "src/console/api-sign-in.ts": "whether a token is over",
  "src/console/app-server-sign-in.ts": "whether a token is over",
  "src/transport/certificates.ts": "whether a certificate is still valid, and for how many days",
  "src/app-servers/deliveries.ts": "how old an event is that is kept on disk, over restarts",
  "src/app-servers/sip-part.ts": "when something happened, for app servers; how long it is until a date in Retry-After",
  "src/app-servers/token.ts": "`iat` and `exp` of a JWT (RFC 7519 §4.1)",
  "src/identity/certificate.ts": "from when to when a certificate is valid",
  "src/identity/shaken.ts": "`iat` of a PASSporT (RFC 8225 §5.1.1)",
  "src/node/identity.ts": "whether the certificate for telephone numbers is still valid, and for how many days",
  "src/node/everywhere.ts": "when a question to other nodes was written",
  "src/charging/charges/book-questions.ts":
    "whether another node's question is a new one, or an old one that somebody repeats",
  "src/node/relay.ts": "whether a code for a telephone is still valid, which outlives the process",
  "src/charging/billing/refused-charges.ts": "how old what is kept for people may be",
  "src/node/acts.ts": "when a question to other nodes was written",
  "src/store/probe.ts": "what the store's server is compared with",
  "src/support/clock.ts": "the clock itself",
  "src/support/logger.ts": "when a line was written",
  "src/support/timeline.ts": "where a timeline begins, and whether the wall clock was set",
  "src/transport/feedback.ts": "`oc-seq` rises over restarts (RFC 7339 §4.4)",
  "src/transport/layer.ts": "when a message came, for whoever looks on",
};

it("nothing that is measured reads a clock that can be set", () => {
  const found = readdirSync(join(ROOT, "src"), { recursive: true, encoding: "utf8" })
    .map((name) => join("src", name))
    // What the command prints is for people, and ends with it.
    .filter((name) => name.endsWith(".ts") && !name.startsWith("src/cli/"))
    .filter((name) => /\bwall\(\)|\.wall\b|\bDate\.now\b|\bnew Date\(\)/.test(readFileSync(join(ROOT, name), "utf8")));
  expect(found.filter((name) => !(name in READERS))).toEqual([]);
});
