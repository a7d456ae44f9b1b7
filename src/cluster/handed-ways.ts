import type { Bus } from "../bus/types.ts";
import type { Direct } from "./direct.ts";
import { HANDED_TOPIC, handedTopic } from "./handed.ts";
import type { Members } from "./members.ts";

/**
 * How what is handed over goes to other nodes: over NATS; and straight to those that are there, but not heard over NATS
 * now, or to all if it is this node that is cut off.
 */
export class HandedWays implements Required<Pick<Bus, "tell" | "hear">> {
  private readonly bus: Pick<Bus, "tell" | "hear">;
  private readonly direct: Pick<Direct, "tell" | "told"> | undefined;
  private readonly members: Pick<Members, "withoutNats" | "cutOff" | "others">;

  constructor(
    bus: Pick<Bus, "tell" | "hear">,
    direct: Pick<Direct, "tell" | "told"> | undefined,
    members: Pick<Members, "withoutNats" | "cutOff" | "others">,
  ) {
    this.bus = bus;
    this.direct = direct;
    this.members = members;
  }

  tell(topic: string, text: string): boolean {
    const { direct, members, bus } = this;
    let told = false;
    let overNats = !members.cutOff;
    if (direct)
      for (const node of members.cutOff ? members.others() : members.withoutNats()) {
        if (topic !== HANDED_TOPIC && topic !== handedTopic(node)) continue;
        told = direct.tell(node, text) || told;
        if (topic !== HANDED_TOPIC) overNats = false;
      }
    else overNats = true;
    return ((overNats && bus.tell?.(topic, text)) ?? false) || told;
  }

  hear(topic: string, heard: (text: string) => void): () => void {
    if (topic !== HANDED_TOPIC && this.direct) this.direct.told = heard;
    return this.bus.hear?.(topic, heard) ?? (() => {});
  }
}
