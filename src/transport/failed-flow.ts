import { KINDS, type TransportName } from "./kinds.ts";
import type { Flow } from "./types.ts";
import { hostPort } from "./via.ts";

/**
 * Stands for a flow that could not be made. What is sent by it is lost. `failed` is called on the next tick, when the
 * sender has the flow.
 */
export class FailedFlow implements Flow {
  readonly id: string;
  readonly transport: TransportName;
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly reliable = true;
  readonly open = false;
  readonly connectFailed = true;

  constructor(transport: TransportName, address: string, port: number, failed: (flow: Flow) => void) {
    this.id = `${transport}/${hostPort(address, port)}#none`;
    this.transport = transport;
    this.remoteAddress = address;
    this.remotePort = port;
    process.nextTick(failed, this);
  }

  get secure(): boolean {
    return KINDS[this.transport].secure;
  }

  send(_bytes: Buffer): void {}
}
