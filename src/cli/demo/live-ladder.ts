import type { Tapped } from "../../transport/layer.ts";
import { labelOf } from "./ladder.ts";
import type { Printer } from "./printer.ts";

/** Draws what passes: a new ladder with each INVITE that begins a call. */
export class LiveLadder {
  private readonly printer: Printer;
  private readonly client: string;
  private readonly isServer: (peer: string) => boolean;
  private calls = 0;

  /** `client`: what a client is called. `isServer`: whether an app server is at `host:port`. */
  constructor(printer: Printer, client: string, isServer: (peer: string) => boolean) {
    this.printer = printer;
    this.client = client;
    this.isServer = isServer;
  }

  saw({ direction, peer, message, at }: Pick<Tapped, "direction" | "peer" | "message" | "at">): void {
    const side = this.isServer(peer) ? "server" : "client";
    const begins = direction === "in" && side === "client" && message.isRequest && message.toTag === undefined;
    if (begins && message.method === "INVITE" && !message.headers.has("authorization"))
      this.printer.scene(`Call ${++this.calls}: ${message.callId ?? ""}`, {
        client: this.client,
        relay: "relay",
        server: "app server",
      });
    if (direction === "in") this.printer.arrow(at, side, "relay", labelOf(message));
    else this.printer.arrow(at, "relay", side, labelOf(message));
  }
}
