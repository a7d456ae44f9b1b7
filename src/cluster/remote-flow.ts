import type { Flow, TransportName } from "../transport/types.ts";
import type { NodeRun } from "./beat.ts";
import type { FlowFacts } from "./handed.ts";

/** The way to a peer whose socket another node has. */
export class RemoteFlow implements Flow {
  readonly id: string;
  readonly transport: TransportName;
  readonly reliable: boolean;
  readonly secure: boolean;
  readonly remoteAddress: string;
  readonly remotePort: number;
  /** What a Contact says that leads to that node. */
  readonly contact: string;
  readonly cameTo: string | undefined;
  readonly by: NodeRun;
  /** That node's number for the flow. */
  readonly number: number;
  open = true;
  private readonly pass: (flow: RemoteFlow, bytes: Buffer) => void;

  constructor(by: NodeRun, facts: FlowFacts, pass: (flow: RemoteFlow, bytes: Buffer) => void) {
    const { number, transport, reliable, secure, remoteAddress, remotePort, contact, cameTo } = facts;
    this.id = `${transport}/${remoteAddress}:${remotePort}@${by.node}#${number}`;
    this.by = by;
    this.number = number;
    this.transport = transport;
    this.reliable = reliable;
    this.secure = secure;
    this.remoteAddress = remoteAddress;
    this.remotePort = remotePort;
    this.contact = contact;
    this.cameTo = cameTo || undefined;
    this.pass = pass;
  }

  send(bytes: Buffer): void {
    this.pass(this, bytes);
  }
}
