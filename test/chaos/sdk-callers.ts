import { type Client, type ClientSession, createClient, SipError } from "../../src/sdk/index.ts";
import type { Chance } from "../simulation/chance.ts";
import { type CallRecord, hungUpBy, type Ledger } from "./calls.ts";
import { DOMAIN, PASSWORD } from "./nodes.ts";

/** A caller gives a call up that has rung so long. */
const RING_MS = 20_000;
/** A client whose connection is gone comes back by another node within this time (`recovery.awaitClientS`). */
const BACK_MS = 90_000;

export interface SdkCallersOptions {
  readonly ports: readonly number[];
  readonly ledger: Ledger;
  readonly chance: Chance;
  /** How long sessions last on average, if the client ends them. */
  readonly holdMs: number;
  readonly postpaid: readonly string[];
  readonly prepaid: readonly string[];
}

interface Sitting {
  readonly session: ClientSession;
  readonly call: CallRecord;
}

/**
 * Clients over TCP, made with the SDK, one for each user: each has one connection to one node, and goes to the next one
 * when that is gone. It signs in by Digest.
 */
export class SdkCallers {
  private readonly options: SdkCallersOptions;
  private readonly clients: { readonly client: Client; readonly user: string; readonly prepaid: boolean }[] = [];
  private readonly standing = new Set<Sitting>();
  /** Calls that are neither refused nor over. */
  under = 0;
  offered = 0;
  answered = 0;
  private hurry = false;

  constructor(options: SdkCallersOptions) {
    this.options = options;
    const { ports, postpaid, prepaid } = options;
    for (const [i, user] of [...postpaid, ...prepaid].entries()) {
      const own = ports.map((_, at) => ports[(i + at) % ports.length]!);
      const relay = own.map((port) => `sip:127.0.0.1:${port};transport=tcp`);
      const client = createClient({ relay, domain: DOMAIN, user, password: PASSWORD });
      this.clients.push({ client, user, prepaid: prepaid.includes(user) });
    }
  }

  get standingNow(): number {
    return this.standing.size;
  }

  async close(): Promise<void> {
    await Promise.all(this.clients.map(({ client }) => client.close().catch(() => {})));
  }

  /** All hang up now. */
  hangUpAll(): void {
    this.hurry = true;
    for (const sitting of this.standing) void this.hangUp(sitting);
  }

  call(): void {
    const { chance, ledger } = this.options;
    const { client, user, prepaid } = chance.of(this.clients);
    const call = ledger.call({ callId: `tcp-${this.offered++}`, user, prepaid });
    const since = Date.now();
    const patience = new AbortController();
    const timer = setTimeout(() => patience.abort(), RING_MS);
    const waited = () => {
      clearTimeout(timer);
      ledger.waited("INVITE", since);
    };
    ledger.offered++;
    this.under++;
    const description = `v=0\r\ns=${call.number}\r\n`;
    client.request("wine", { description, contentType: "application/sdp", signal: patience.signal }).then(
      (session) => {
        waited();
        this.answered++;
        call.ackedAt = Date.now();
        this.stay({ session, call });
      },
      (error: unknown) => {
        waited();
        this.under--;
        ledger.count("failed", error instanceof SipError ? `TCP ${error.status}` : String(error));
      },
    );
  }

  private stay(sitting: Sitting): void {
    const { chance, holdMs, ledger } = this.options;
    const { session, call } = sitting;
    this.standing.add(sitting);
    void session.ended.then(({ by, status, reason }) => {
      if (by === "remote") hungUpBy(ledger, call, reason, "client");
      else if (by === "connection") ledger.lose(call, `client over TCP: ${reason}`);
      // 481: the BYE was taken by a node that died before it could say so.
      else if (status !== 200 && status !== 481) call.lost ??= `client over TCP: BYE ${status} ${reason ?? ""}`;
      this.over(sitting);
    });
    const leaveMs = this.hurry ? 0 : holdMs * (0.2 + 1.6 * chance.next());
    setTimeout(() => void this.hangUp(sitting), leaveMs);
  }

  private async hangUp(sitting: Sitting): Promise<void> {
    const { session, call } = sitting;
    if (call.clientOverAt !== undefined || call.hungUp !== undefined) return;
    if (call.ended === undefined) call.hungUp = "client";
    const since = Date.now();
    await session.end();
    this.options.ledger.waited("BYE over TCP", since);
  }

  private over(sitting: Sitting): void {
    if (!this.standing.delete(sitting)) return;
    sitting.call.clientOverAt = Date.now();
    this.under--;
  }
}

/** So long it may take until all have hung up: each may have to make a connection first. */
export const SDK_OVER_MS = BACK_MS;
