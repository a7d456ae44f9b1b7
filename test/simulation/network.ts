import type { SipMessage, SipRequest } from "../../src/sip/message.ts";
import { parseMessage } from "../../src/sip/parse.ts";
import { serialize } from "../../src/sip/serialize.ts";
import type { Destination, Flow, TransportLayer } from "../../src/transport/types.ts";
import { stampVia, viaFor } from "../../src/transport/via.ts";
import type { TestClock } from "../support/test-clock.ts";
import type { Chance } from "./chance.ts";

/** What the network does to datagrams. */
export interface Faults {
  readonly lostPercent: number;
  readonly doubledPercent: number;
  /** Of those that arrive, so many take up to two seconds: later ones overtake them. */
  readonly latePercent: number;
}

/** Datagrams between hosts in memory: lost, doubled, late, out of order. Each is written as bytes and read again. */
export class SimulatedNetwork {
  /** Every datagram as it leaves, when told to keep them. */
  readonly trace: string[] = [];
  tracing = false;
  /** From then on nothing is lost, doubled or late: so that everybody can come home. */
  calm = false;
  private readonly clock: TestClock;
  private readonly chance: Chance;
  private readonly faults: Faults;
  private readonly hosts = new Map<string, Host>();

  constructor(clock: TestClock, chance: Chance, faults: Faults) {
    this.clock = clock;
    this.chance = chance;
    this.faults = faults;
  }

  host(address: string): Host {
    const host = new Host(this, address);
    this.hosts.set(address, host);
    return host;
  }

  carry(bytes: Buffer, from: Host, to: string): void {
    if (from.down) return;
    const { lostPercent, doubledPercent, latePercent } = this.calm ? CALM : this.faults;
    const lost = this.chance.percent(lostPercent);
    if (this.tracing) this.note(bytes, from.address, to, lost);
    if (lost) return;
    const copies = this.chance.percent(doubledPercent) ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      const delayMs = this.chance.percent(latePercent) ? this.chance.between(100, 2_000) : this.chance.between(1, 40);
      this.clock.setTimeout(() => this.hosts.get(to)?.take(bytes, from.address), delayMs);
    }
  }

  private note(bytes: Buffer, from: string, to: string, lost: boolean): void {
    const text = bytes.toString("latin1");
    const cseq = /^CSeq: *(.*)$/m.exec(text)?.[1]?.trim();
    const [first = ""] = text.split("\r\n", 1);
    const at = (this.clock.monotonic() % 86_400_000) / 1000;
    this.trace.push(`${at.toFixed(3).padStart(9)} ${from} -> ${to} ${first} [${cseq}]${lost ? " LOST" : ""}`);
  }
}

const CALM: Faults = { lostPercent: 0, doubledPercent: 0, latePercent: 0 };

/** One address: the transport of the relay, or of a peer. */
export class Host implements TransportLayer {
  readonly address: string;
  /** Crashed: sends nothing, hears nothing. */
  down = false;
  deliver: (message: SipMessage, flow: Flow) => void = () => {};
  private readonly network: SimulatedNetwork;
  private readonly flows = new Map<string, Flow>();

  constructor(network: SimulatedNetwork, address: string) {
    this.network = network;
    this.address = address;
  }

  take(bytes: Buffer, from: string): void {
    if (this.down) return;
    const read = parseMessage(bytes, "datagram");
    if (!read.ok) throw new Error(`${from} sent what cannot be read: ${read.error.reason}\n${bytes}`);
    if (read.value.isRequest) stampVia(read.value, from, 5060);
    this.deliver(read.value, this.flowTo(from));
  }

  sendRequest(
    request: SipRequest,
    { address }: Destination,
    branch: string,
    via?: Flow,
  ): { flow: Flow; bytes: Buffer } {
    const flow = via ?? this.flowTo(address);
    request.headers.prepend("Via", viaFor("udp", `${this.address}:5060`, branch));
    request.changed();
    const bytes = serialize(request);
    flow.send(bytes);
    return { flow, bytes };
  }

  wayTo({ address }: Destination): Flow {
    return this.flowTo(address);
  }

  contactFor(): string {
    return `${this.address}:5060`;
  }

  contactTowards(): string {
    return `${this.address}:5060`;
  }

  private flowTo(address: string): Flow {
    let flow = this.flows.get(address);
    if (!flow) {
      flow = {
        id: `udp/${address}:5060`,
        transport: "udp",
        reliable: false,
        secure: false,
        remoteAddress: address,
        remotePort: 5060,
        open: true,
        send: (bytes) => this.network.carry(bytes, this, address),
      };
      this.flows.set(address, flow);
    }
    return flow;
  }
}
