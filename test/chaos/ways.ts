import { Headers, SipRequest, type SipResponse } from "../../src/sip/message.ts";
import { systemClock } from "../../src/support/clock.ts";
import type { ClientTransaction } from "../../src/transaction/types.ts";
import type { Destination } from "../../src/transport/types.ts";
import type { Chance } from "../simulation/chance.ts";
import type { UdpEnd } from "../support/udp-end.ts";
import type { Ledger } from "./calls.ts";

/** So long a balancer waits for an answer before it asks the next node. */
const NEXT_AFTER_MS = 600;
/** So long a request is tried altogether. */
const GIVE_UP_MS = 32_000;

/** The nodes' ports, and which of them something is sent to. */
export class Ways {
  readonly ports: readonly number[];
  private readonly chance: Chance;

  constructor(ports: readonly number[], chance: Chance) {
    this.ports = ports;
    this.chance = chance;
  }

  /** Any node; its number is in `port`, until `portFor` makes a port of it. */
  any(): Destination {
    return { transport: "udp", address: "127.0.0.1", port: this.chance.between(0, this.ports.length - 1) };
  }

  /**
   * Where a request goes when it is sent for the so-manieth time: as if the address moved to the next node where there
   * is no answer.
   */
  readonly portFor = ({ port }: Destination, sent: number): number =>
    this.ports[(port + Math.max(0, sent - 1)) % this.ports.length]!;

  /** Sent again by a transaction (the address moves), or by a balancer in a new one (RFC 3263 §4.3). */
  get balanced(): boolean {
    return this.chance.percent(50);
  }
}

/**
 * Sends a request within a dialog to any node, and to the next where no answer comes. `undefined`: no answer at all.
 */
export function ask(
  end: UdpEnd,
  ways: Ways,
  ledger: Ledger,
  request: SipRequest,
  done: (response: SipResponse | undefined) => void,
): void {
  const since = Date.now();
  const { balanced } = ways;
  const first = ways.any();
  let over = false;
  const finish = (response: SipResponse | undefined) => {
    if (over) return;
    over = true;
    ledger.waited(request.method, since);
    done(response);
  };
  const copies: ClientTransaction[] = [];
  const send = (nth: number) => {
    if (over) return;
    if (nth > 0 && Date.now() - since > GIVE_UP_MS) return finish(undefined);
    const port = (first.port + nth) % ways.ports.length;
    const fails = () => {
      if (!balanced) finish(undefined);
    };
    copies.push(
      end.transactions.send(
        copyOf(request),
        { ...first, port },
        { final: finish, timeout: fails, transportError: fails },
      ),
    );
    if (balanced) systemClock.setTimeout(() => send(nth + 1), NEXT_AFTER_MS * Math.min(8, 2 ** nth));
  };
  send(0);
}

const copyOf = ({ method, uri, headers, body }: SipRequest): SipRequest =>
  new SipRequest(method, uri, new Headers([...headers.fields]), body);
