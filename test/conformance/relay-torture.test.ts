import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openPortal, type Portal } from "../e2e/portal.ts";
import { ANSWERS } from "./answers.ts";
import { loadTorture, type TortureMessage } from "./torture.ts";

/*
 * The torture messages against a running relay, over UDP. RFC 3261 §18.2.2 sends an answer to the port that the Via
 * names, and that is 5060 mostly: the tester has a loopback address of its own, so that no port of it can be taken.
 */

const messages = loadTorture();

/** What else must be in an answer (RFC 3261 §20.5, §22.1, §8.2.2.3). */
const MUST_CARRY: Readonly<Record<number, string>> = {
  401: "WWW-Authenticate",
  405: "Allow",
  420: "Unsupported",
  501: "Allow",
};

/**
 * Whether the index allows that answer from what Tollgate is: a user agent server and registrar that signs in whoever
 * invites or registers. The notes on `responses` say so: 401 may come before any later check, a To tag without a dialog
 * earns 481, and where no status is named it is not a 400.
 */
function isAllowed({ expected, method, toTag }: TortureMessage, status: number): boolean {
  const { any, endpoint } = expected.responses;
  if (expected.parser !== "accept" && any?.includes(status)) return true;
  if (expected.parser === "reject") return false;
  if (toTag) return status === 481;
  // The registrar signs in whoever registers, and is none for other domains than the portal's (RFC 3261 §10.3).
  if (method === "REGISTER") return status === 401 || status === 404;
  if (method === "INVITE" && status === 401) return true;
  const named = [...(any ?? []), ...(endpoint ?? [])];
  if (named.includes(status)) return true;
  const open = named.length === 0 || named.includes("process") || expected.parser === "either";
  return open && status === 200;
}

const RELAYS_NEEDED = 1 + Math.max(...messages.map((message) => earlierTwins(message)));

/** How many messages before this one are the same transaction to a stateful server: each goes to a relay of its own. */
function earlierTwins(message: TortureMessage): number {
  const before = messages.slice(0, messages.indexOf(message)).map(({ name }) => name);
  return (message.collidesWith ?? []).filter((name) => before.includes(name)).length;
}

interface Answer {
  /** Where it came to; 0: where the message was sent from. */
  readonly port: number;
  readonly status: number;
  /** Of broken requests the answers hold what is broken: they are not parsed. */
  readonly text: string;
}

const headerOf = ({ text }: Answer, name: string): string | undefined =>
  new RegExp(`^${name}: (.*)$`, "m").exec(text)?.[1];

/** A tester: sends from one port, and listens on every port that a message may name. */
class Tester {
  readonly host: string;
  private readonly sockets = new Map<number, Socket>();
  private readonly sender: Socket;
  private readonly answers: Answer[] = [];
  private wake: () => void = () => {};
  private barriers = 0;

  private constructor(host: string) {
    this.host = host;
    this.sender = createSocket("udp4");
  }

  /** On a loopback address of its own, where the system has them; else on 127.0.0.1. */
  static async open(): Promise<Tester> {
    const byte = () => 1 + Math.floor(Math.random() * 250);
    const problems: unknown[] = [];
    for (const host of [`127.${byte()}.${byte()}.${byte()}`, "127.0.0.1"]) {
      const tester = new Tester(host);
      try {
        await tester.bind();
        return tester;
      } catch (error) {
        problems.push(error);
        tester.close();
      }
    }
    throw new Error(`no address with the ports that the messages name: ${problems.join(", ")}`);
  }

  private async bind(): Promise<void> {
    const ports = new Set([5060, ...messages.map(({ topVia }) => topVia.responsePort)]);
    for (const port of [0, ...ports]) {
      const socket = port === 0 ? this.sender : createSocket("udp4");
      this.sockets.set(port, socket);
      socket.on("message", (bytes) => {
        const text = bytes.toString("latin1");
        this.answers.push({ port, status: Number(/^SIP\/2\.0 (\d{3}) /.exec(text)?.[1]), text });
        this.wake();
      });
      socket.bind(port, this.host);
      await once(socket, "listening");
    }
  }

  /**
   * Sends a message and, behind it, an OPTIONS whose answer comes back to the same port; resolves to what was answered
   * before that. Rejects when the OPTIONS is not answered: the relay is dead.
   */
  async answersTo(bytes: Buffer, relayPort: number, via: { rport: boolean; responsePort: number }): Promise<Answer[]> {
    const branch = `z9hG4bKbarrier${++this.barriers}`;
    const barrier = [
      "OPTIONS sip:portal.example SIP/2.0",
      `Via: SIP/2.0/UDP ${this.host}:${via.responsePort}${via.rport ? ";rport" : ""};branch=${branch}`,
      `From: <sip:tester@${this.host}>;tag=1`,
      "To: <sip:portal.example>",
      `Call-ID: barrier-${this.barriers}`,
      "CSeq: 1 OPTIONS",
      "Max-Forwards: 70",
      "\r\n",
    ].join("\r\n");
    this.sender.send(bytes, relayPort, "127.0.0.1");
    this.sender.send(barrier, relayPort, "127.0.0.1");
    const found: Answer[] = [];
    for (;;) {
      while (this.answers.length === 0) {
        await new Promise<void>((resolve) => {
          this.wake = resolve;
        });
      }
      const answer = this.answers.shift()!;
      if (!headerOf(answer, "Via")?.includes(`;branch=${branch}`)) found.push(answer);
      else if (answer.status === 200) return found;
      else throw new Error(`OPTIONS was answered with ${answer.status}`);
    }
  }

  close(): void {
    for (const socket of this.sockets.values()) socket.close();
  }
}

let tester: Tester;
let relays: Portal[];

beforeAll(async () => {
  tester = await Tester.open();
  relays = await Promise.all(
    Array.from({ length: RELAYS_NEEDED }, () =>
      openPortal({
        config: {
          // Nobody acknowledges the refusals: they are not to come again while other messages are under test.
          timers: { t1Ms: 10_000, t2Ms: 60_000 },
        },
      }),
    ),
  );
});

afterAll(async () => {
  tester?.close();
  await Promise.all((relays ?? []).map((relay) => relay.close()));
});

it("the table has every request, and nothing that its RFC does not allow", () => {
  const requests = messages.filter(({ kind }) => kind === "request");
  expect(Object.keys(ANSWERS).sort()).toEqual(requests.map(({ name }) => name).sort());
  const wrong = requests.filter((message) => !isAllowed(message, ANSWERS[message.name]!));
  expect(wrong.map(({ name }) => `${name}: ${ANSWERS[name]}`)).toEqual([]);
  // No request may be answered with just anything, and none that must be read with 400.
  for (const message of requests) {
    expect(isAllowed(message, 500)).toBe(false);
    if (message.expected.parser === "accept") expect(isAllowed(message, 400)).toBe(message.name === "sdp01");
  }
});

describe("a running relay", () => {
  it.each(messages)("answers RFC $rfc §$section $name, and lives: $title", async (message) => {
    const { kind, name, bytes, topVia } = message;
    const relay = relays[earlierTwins(message)]!;
    const found = await tester.answersTo(bytes, relay.udp, topVia);
    const port = topVia.rport ? 0 : topVia.responsePort; // 0: where it came from
    const expected = kind === "response" ? [] : [{ status: ANSWERS[name], port }];
    expect(found.map(({ status, port }) => ({ status, port }))).toEqual(expected);
    for (const answer of found) {
      const needed = MUST_CARRY[answer.status];
      if (needed !== undefined && message.expected.parser === "accept") expect(headerOf(answer, needed)).toBeTruthy();
      expect(headerOf(answer, "Via")).toBeTruthy();
      // RFC 3261 §8.2.6.2. What a broken request lacks cannot be copied.
      const to = headerOf(answer, "To");
      if (to !== undefined) expect(to).toMatch(/; *tag *= *\w/);
    }
  });

  it("has not failed in any of that", () => {
    for (const { relay, log } of relays) {
      expect(relay.counters.crashed).toBe(0);
      expect(relay.sessions()).toEqual([]);
      const faults = log()
        .split("\n")
        .filter((line) => line !== "" && (JSON.parse(line) as { level: number }).level >= 40);
      expect(faults).toEqual([]);
    }
  });
});
