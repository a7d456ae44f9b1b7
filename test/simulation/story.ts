// biome-ignore-all lint/suspicious/noThenProperty: a rule says when and then
import { pino } from "pino";
import { accountEvents, type ChargingEvent } from "../../src/charging/events/events.ts";
import type { Config } from "../../src/config/schema.ts";
import type { Random } from "../../src/support/random.ts";
import { type Lab, lab, misfits } from "../relay/harness.ts";
import { TestClock } from "../support/test-clock.ts";
import { Biller } from "./biller.ts";
import { Chance } from "./chance.ts";
import { type HandedOver, plotHandOvers } from "./hand-over.ts";
import { KeptDisk } from "./kept-disk.ts";
import { SimulatedNetwork } from "./network.ts";
import { CALM_MS, ClientAgent, HOME_MS, SERVICES, ServerAgent } from "./peers.ts";

/** What came of one seed. */
export interface Outcome {
  readonly seed: number;
  /** What should not be; none: all is well. */
  readonly faults: readonly string[];
  readonly sessions: number;
  readonly charges: number;
  readonly changes: number;
  readonly moves: number;
  /** Prepaid: sessions that the balance was used up in, and requests that it did not cover. */
  readonly exhausted: number;
  readonly events: number;
  /**
   * What of the events somebody pays for, in their order, without the time of day: it is the same however the wall
   * clock was set.
   */
  readonly charged: readonly string[];
  /** Times that the wall clock was set. */
  readonly steps: number;
  /** Times that a session was written, thrown away, and restored from what was written. */
  readonly handedOver: HandedOver | undefined;
  /** Every datagram, where it was asked for. */
  readonly trace: readonly string[];
}

const RELAY = "192.0.2.1";
const CLIENT = "192.0.2.50";
const MINUTE_MS = 60_000;
/** `session.byeAnswerS`, and two datagrams that take their time. */
const MOST_WAIT_MS = 4_000 + 2 * 2_000;

/**
 * Plays one seed: a client, a relay and up to five app servers over a network that loses, doubles, delays and reorders,
 * some of them crash, somebody sets the wall clock, the billing worker's shows another time, and in the end everybody
 * goes home. Then nothing may be left, and what was charged must be what was promised. `steps: false`: nobody sets the
 * wall clock, and the billing worker's shows the same. `handOvers: false`: no session is written and restored.
 */
export async function play(
  seed: number,
  options: { trace?: boolean; steps?: boolean; handOvers?: boolean } = {},
): Promise<Outcome> {
  const chance = new Chance(seed);
  const clock = new TestClock();
  const random = randomFrom(chance);
  const lostPercent = chance.of([0, 2, 10, 25]);
  const network = new SimulatedNetwork(clock, chance, {
    lostPercent,
    doubledPercent: chance.of([0, 5, 20]),
    latePercent: chance.of([0, 5, 20]),
  });
  network.tracing = options.trace ?? false;
  const complaints: string[] = [];
  const around = { clock, chance, random, relay: RELAY };
  const names = Array.from({ length: chance.between(1, 5) }, (_, i) => `server${i + 1}`);
  const [tariffs, interval] = TARIFFS[Math.floor(seed / TAXES.length) % TARIFFS.length]!;
  const config = { ...configuration(chance, names), tariffs, taxes: TAXES[seed % TAXES.length]! };
  const balance = chance.percent(40) ? chance.of(["0.05", "0.30", "2.00", "50.00"]) : undefined;
  const disk = new KeptDisk(clock);
  const l = await lab({
    clock,
    random,
    weigh: () => chance.next(),
    network: network.host(RELAY),
    log: pino({ level: "error" }, { write: (line: string) => void complaints.push(line.trim()) }),
    config,
    recorded: (event) => disk.commit([event]),
    core: { kept: disk.sessions },
    ...(balance !== undefined && { balance }),
  });
  disk.sessions.attach(l.core);
  const watched = new Chance(-seed);
  const biller = new Biller(
    l,
    options.steps === false ? 0 : watched.of([0, -1, 1]) * watched.between(1, 48 * 60) * MINUTE_MS,
  );
  const servers = names.map((_, i) => new ServerAgent(around, network.host(`192.0.2.${100 + i}`)));
  const client = new ClientAgent(around, network.host(CLIENT));
  for (let i = chance.between(1, 4); i > 0; i--) clock.setTimeout(() => client.play(), chance.between(0, 20_000));
  plotCrashes(around, client, servers);
  const steps = options.steps === false ? 0 : plotSteps(clock, watched);
  const handedOver =
    options.handOvers === false ? undefined : plotHandOvers(l, disk, clock, new Chance(seed + 2 ** 31), HOME_MS);
  const diskFull = chance.percent(15);
  if (diskFull) {
    const at = chance.between(1_000, CALM_MS);
    const breaks = (broken: boolean) => {
      l.breakRecorder(broken);
      disk.broken = broken;
    };
    clock.setTimeout(() => breaks(true), at);
    clock.setTimeout(() => breaks(false), at + chance.between(100, 40_000));
  }
  clock.setTimeout(() => client.goHome(), HOME_MS);
  clock.setTimeout(() => {
    network.calm = true;
  }, CALM_MS);

  let story = "";
  try {
    await run(clock, HOME_MS + 15 * 60_000);
    biller.stop();
    await biller.bill();
  } catch (error) {
    story = `the story broke off: ${(error as Error).stack}`;
  }
  const faults = [
    ...misfits.splice(0),
    ...(story ? [story] : []),
    ...leftIn("the relay", l.leftovers()),
    ...leftIn("the client", client.leftovers),
    ...disk.names.map((name) => `the disk has ${JSON.stringify(name)} left`),
    ...(client.alone > 0 ? [`the client was alone in ${client.alone} dialogs`] : []),
    ...servers.flatMap((server) => leftIn(server.host.address, server.leftovers)),
    // That the disk is full it may say, and must.
    ...complaints
      .filter((line) => !(diskFull && /put on record/.test(line)))
      .map((line) => `the relay complained: ${line}`),
    ...(l.core.counters.crashed > 0 ? [`${l.core.counters.crashed} sessions failed by a fault of the relay`] : []),
    ...(balance === undefined ? [] : await biller.misbalanced(balance, interval)),
    ...(story ? [] : biller.mispriced()),
    ...misbilled(l, servers, {
      // A start that found no room on the disk is in the end.
      startsMayMiss: diskFull,
      lastWordsCount: lostPercent === 0 && balance === undefined,
    }),
    ...(lostPercent === 0 && client.waitedMs > MOST_WAIT_MS
      ? [`the client waited ${client.waitedMs} ms for the answer to its BYE`]
      : []),
  ];
  const count = (type: ChargingEvent["type"]) => l.events.filter((event) => event.type === type).length;
  const [sessions, charges] = [count("session.started"), count("charge.made")];
  const [changes, moves] = [count("session.changed"), count("session.moved")];
  const exhausted = l.core.counters.creditExhausted + l.core.counters.creditRefused;
  const { length: events } = l.events;
  const { trace } = network;
  const charged = l.events.flatMap(accountEvents).map(payable);
  const counts = { sessions, charges, changes, moves, exhausted, events, steps, handedOver };
  return { seed, faults, charged, trace, ...counts };
}

/** On top of the prices, in them, both, and none. */
const VAT = { id: "vat", rate: "19", included: false };
const LEVY = { id: "levy", rate: "7.7", included: true };
const TAXES = [[], [VAT], [LEVY], [VAT, { ...LEVY, services: [SERVICES[0]!] }]];

/** Of "t" and "u"; and what a session may cost beyond a balance, taxes included: an increment. */
const TARIFFS: readonly (readonly [Config["tariffs"], string])[] = [
  [["t", "u"].map((id) => ({ id, currency: "EUR", price: "0.10" })), "0.13"],
  [
    [
      { id: "t", currency: "EUR", setupFee: "0.25", price: "0.07", incrementS: 10, freeS: 20 },
      { id: "u", currency: "EUR", price: "0.05", incrementS: 30, minimum: "0.30", cap: "1" },
    ],
    "0.40",
  ],
  [
    [
      { id: "t", currency: "EUR", price: "0.013", incrementS: 7.5, freeS: 5, cap: "0.5", rounding: "up" },
      { id: "u", currency: "EUR", setupFee: "1", price: "0.2", rounding: "down" },
    ],
    "0.30",
  ],
];

function configuration(chance: Chance, names: readonly string[]) {
  const services = SERVICES.map((id) => ({
    id,
    tariff: id === SERVICES[1] ? "u" : "t",
    fork: chance.of(["sequential", "first", "all"] as const),
    clock: chance.of(["ack", "answer"] as const),
    ringS: chance.between(5, 30),
    onMove: chance.of(["end", "keep"] as const),
    limits: { currency: "EUR" },
  }));
  return {
    portal: { domain: "portal.com" },
    listen: [`udp:${RELAY}:5060`],
    services,
    appServers: names.map((id, i) => ({
      id,
      uri: `sip:192.0.2.${100 + i}:5060`,
      services: SERVICES.filter((_, j) => j === 0 || chance.percent(60)),
      priority: chance.between(1, 2),
    })),
    rules: [
      ...SERVICES.map((id) => ({
        name: `asks for ${id}`,
        when: { body: { "service.@name": id } },
        then: { service: id },
      })),
      { name: "by name", then: {} },
    ],
    session: { probeS: 20, silentS: 5 },
    health: { intervalS: 0 },
    charging: { lateChargesS: 30 },
    credit: { intervalS: chance.of([10, 60]), warnS: chance.of([0, 5]), graceS: 20 },
  };
}

/** Some vanish for good, and some app servers come again and know nothing of before. */
function plotCrashes(
  { clock, chance }: { clock: TestClock; chance: Chance },
  client: ClientAgent,
  servers: readonly ServerAgent[],
): void {
  if (chance.percent(10)) clock.setTimeout(() => client.crash(), chance.between(0, CALM_MS));
  for (const server of servers) {
    if (!chance.percent(15)) continue;
    const at = chance.between(0, CALM_MS);
    clock.setTimeout(() => server.crash(), at);
    if (chance.percent(50)) clock.setTimeout(() => server.restart(), at + chance.between(100, 30_000));
  }
}

/**
 * Sets the wall clock now and then, by a second or by days, forward and back; by a chance of its own, so that the story
 * is the same without.
 */
function plotSteps(clock: TestClock, chance: Chance): number {
  const steps = chance.between(0, 6);
  for (let i = 0; i < steps; i++) {
    const byMs = chance.of([1_000, MINUTE_MS, 60 * MINUTE_MS, 48 * 60 * MINUTE_MS]) * (1 + chance.next());
    const by = Math.round(chance.of([-1, 1]) * byMs);
    clock.setTimeout(() => clock.setWall(by), chance.between(0, HOME_MS));
  }
  return steps;
}

const payable = (event: ReturnType<typeof accountEvents>[number]): string =>
  [
    event.type,
    event.session.service,
    event.session.appServer,
    ...("durationMs" in event ? [event.durationMs, event.endedBy] : []),
    ...("charge" in event ? [event.charge.id] : []),
  ].join(" ");

/** Lets time pass timer by timer, and between two of them the promises have their turn. */
async function run(clock: TestClock, ms: number): Promise<void> {
  const end = clock.monotonic() + ms;
  while (clock.step(end)) for (let i = 0; i < 12; i++) await Promise.resolve();
}

const leftIn = (who: string, leftovers: Record<string, number>): string[] =>
  Object.entries(leftovers)
    .filter(([, count]) => count > 0)
    .map(([what, count]) => `${who} has ${count} ${what} left`);

/**
 * Each session that started ended once; each charge that was answered with 200 is on record once, and no other that
 * nobody asked for.
 */
function misbilled(
  { events }: Lab,
  servers: readonly ServerAgent[],
  /** `lastWordsCount`: what stood in an answer to BYE cannot have been lost, and is covered. */
  { startsMayMiss, lastWordsCount }: { readonly startsMayMiss: boolean; readonly lastWordsCount: boolean },
): string[] {
  const faults: string[] = [];
  const count = new Map<string, number>();
  for (const { id } of events) count.set(id, (count.get(id) ?? 0) + 1);
  for (const [id, times] of count) if (times > 1) faults.push(`${id} is on record ${times} times`);

  const started = new Set<string>();
  const ended = new Set<string>();
  for (const event of events.flatMap(accountEvents)) {
    if (event.type === "session.started") started.add(event.session.id);
    if (event.type === "session.ended") {
      if (ended.has(event.session.id)) faults.push(`${event.session.id} ended twice`);
      ended.add(event.session.id);
      if (startsMayMiss) started.add(event.session.id);
    }
  }
  for (const id of started) if (!ended.has(id)) faults.push(`session ${id} started and never ended`);
  for (const id of ended) if (!started.has(id)) faults.push(`session ${id} ended and never started`);

  const charged = new Map<string, number>();
  for (const id of events.flatMap(chargeIdOf)) charged.set(id, (charged.get(id) ?? 0) + 1);
  for (const { id, taken, lastWord } of servers.flatMap((server) => server.asked)) {
    const times = charged.get(id) ?? 0;
    charged.delete(id);
    if (times > 1) faults.push(`charge ${id} was made ${times} times`);
    if (taken && times === 0) faults.push(`charge ${id} was answered with 200 and is not on record`);
    if (lastWord && lastWordsCount && times === 0) faults.push(`charge ${id} in an answer to BYE is not on record`);
  }
  for (const id of charged.keys()) faults.push(`charge ${id} is on record, and nobody has asked for it`);
  return faults;
}

const chargeIdOf = (event: ChargingEvent): string[] => (event.type === "charge.made" ? [event.charge.id] : []);

function randomFrom(chance: Chance): Random {
  let tokens = 0;
  return { token: () => `${(++tokens).toString(16)}x${Math.floor(chance.next() * 2 ** 32).toString(16)}` };
}
