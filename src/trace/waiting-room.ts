import type { SeenMessage } from "./seen.ts";
import { sizeOf } from "./story.ts";

/**
 * Messages of calls whose caller is not known yet, by Call-ID. Anybody can fill it, so it is a ring of its own: what
 * is in it takes nothing from the calls of users.
 */
export class WaitingRoom {
  private readonly most: number;
  private readonly waiting = new Map<string, SeenMessage[]>();
  private bytes = 0;

  /** `most`: bytes. */
  constructor(most: number) {
    this.most = most;
  }

  add(message: SeenMessage): void {
    const before = this.waiting.get(message.callId);
    if (before) before.push(message);
    else this.waiting.set(message.callId, [message]);
    this.bytes += sizeOf(message);
    while (this.bytes > this.most) {
      const oldest = this.waiting.keys().next().value;
      if (oldest === undefined) return;
      this.take(oldest);
    }
  }

  /** The messages of that call; it is known now, or need not be any more. */
  take(callId: string): SeenMessage[] {
    const messages = this.waiting.get(callId) ?? [];
    this.waiting.delete(callId);
    for (const message of messages) this.bytes -= sizeOf(message);
    return messages;
  }

  clear(): void {
    this.waiting.clear();
    this.bytes = 0;
  }
}
