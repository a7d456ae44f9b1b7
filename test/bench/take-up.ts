import { TakeUp } from "../../src/cluster/take-up.ts";
import { snapshot } from "../../src/relay/session/snapshot.ts";
import type { SipResponse } from "../../src/sip/message.ts";
import { responseTo } from "../../src/sip/response.ts";
import { serialize } from "../../src/sip/serialize.ts";
import { systemClock } from "../../src/support/clock.ts";
import type { Flow } from "../../src/transport/types.ts";
import { establish, lab } from "../relay/harness.ts";
import { TestClock } from "../support/test-clock.ts";

/*
 * How long a node takes to take up the sessions of a dead one, from their copies to the UPDATEs to both ends and their
 * answers, and how long a turn of its event loop is meanwhile. Without sockets, disk, and the copies to the next
 * standby. Beside the time by the clock stands that of the processor, which other programs on the machine do not
 * change.
 *
 *   npm run bench:take-up            10,000 sessions
 *   npm run bench:take-up -- 2000
 */

const MANY = Number(process.argv[2] ?? 10_000);
const ROUNDS = 5;

let sent = 0;
/** What the ends have answered, and has not come yet. */
let answers: SipResponse[] = [];
const flow: Flow = {
  id: "udp/192.0.2.100:5060",
  transport: "udp",
  reliable: false,
  secure: false,
  remoteAddress: "192.0.2.100",
  remotePort: 5060,
  open: true,
  send: () => void sent++,
};
const network: NonNullable<NonNullable<Parameters<typeof lab>[0]>["network"]> = {
  deliver: () => {},
  sendRequest: (request, _destination, branch) => {
    request.headers.prepend("Via", `SIP/2.0/UDP 192.0.2.1:5060;rport;branch=${branch}`);
    request.changed();
    const bytes = serialize(request);
    flow.send(bytes);
    answers.push(responseTo(request, 200));
    return { flow, bytes };
  },
  wayTo: () => flow,
  contactFor: () => "192.0.2.2:5060",
  contactTowards: () => "192.0.2.2:5060",
};

/** The state of one session that stands, as it is copied. */
async function aCopy(): Promise<string> {
  const l = await lab({ clock: new TestClock() });
  await establish(l);
  return JSON.stringify(snapshot([...l.core.sessions.values()][0]!));
}

async function round(text: string) {
  const clock = Object.assign(Object.create(systemClock), { armed: 0 }) as TestClock;
  const recorder = { full: false, append: async () => {} }; // the disk gathers what many write; it is not measured here
  const { core, transactions } = await lab({
    clock,
    network,
    limits: { perSourcePerSecond: 0, calls: 100_000 },
    core: { recorder },
  });
  const { facts, client, server, chart } = JSON.parse(text);
  const offsetMs = chart.context.startedAt + 60_000 - clock.monotonic();
  const copies = Array.from({ length: MANY }, (_, i) => {
    const session = `${facts.id}-${i}`;
    const state = text
      .replaceAll(facts.id, session)
      .replaceAll(client.localTag, `${client.localTag}${i}`)
      .replaceAll(server.localTag, `${server.localTag}${i}`);
    return { session, state, isSetUp: false, offsetMs };
  });
  const takeUp = new TakeUp(core);
  sent = 0;
  answers = [];
  let longestMs = 0;
  let longestCpuMs = 0;
  let turns = 0;
  const startedAt = performance.now();
  let turnAt = startedAt;
  const cpu = () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1_000;
  };
  const cpuBefore = cpu();
  let cpuAt = cpuBefore;
  await new Promise<void>((resolve) => {
    const turn = () => {
      const now = performance.now();
      longestMs = Math.max(longestMs, now - turnAt);
      turnAt = now;
      const cpuNow = cpu();
      longestCpuMs = Math.max(longestCpuMs, cpuNow - cpuAt);
      cpuAt = cpuNow;
      turns++;
      for (const response of answers.splice(0, 50)) transactions.received(response, flow);
      if (takeUp.busy || answers.length > 0) setImmediate(turn);
      else resolve();
    };
    takeUp.take({ node: "node01", epoch: 1 }, { copies, events: [] });
    turn();
  });
  const ms = performance.now() - startedAt;
  const cpuMs = cpu() - cpuBefore;
  if (takeUp.taken !== MANY || core.sessions.size !== MANY)
    throw new Error(`${takeUp.taken} of ${MANY} were taken up; ${core.sessions.size} stand`);
  for (const session of core.sessions.values()) session.release();
  return { ms, cpuMs, longestMs, longestCpuMs, turns };
}

const text = await aCopy();
console.log(`${MANY} sessions, ${Math.round(Buffer.byteLength(text))} bytes each`);
for (let i = 0; i < ROUNDS; i++) {
  const { ms, cpuMs, longestMs, longestCpuMs, turns } = await round(text);
  const of = (clock: number, processor: number) => `${clock.toFixed(0)} ms (processor ${processor.toFixed(0)} ms)`;
  console.log(`taken up in ${of(ms, cpuMs)}, ${sent} requests; ${turns} turns, longest ${of(longestMs, longestCpuMs)}`);
}
process.exit();
