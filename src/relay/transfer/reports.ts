import type { SipRequest } from "../../sip/message.ts";
import { SIPFRAG } from "../../sip/sipfrag.ts";
import type { TimerHandle } from "../../support/clock.ts";
import type { Timeline } from "../../support/timeline.ts";
import { type Dialog, requestWithin } from "../dialog/dialog.ts";
import { sendWithin } from "../leg/route.ts";
import type { Core } from "../model/core.ts";

/** One NOTIFY: its body, and, for the last one, the reason why it is the last (RFC 6665 §4.1.3). */
interface Report {
  readonly fragment: Buffer;
  readonly last?: "noresource" | "timeout";
}

/**
 * The implicit subscription that a REFER makes: NOTIFYs that say how the move is going (RFC 3515 §2.4.4, RFC 6665
 * §4.2). Only one is under way at a time. Of those that come up meanwhile only the latest is sent, since each tells the
 * whole state. The last one does not wait for another: a BYE that follows it in the same dialog must not overtake it.
 */
export class Reports {
  private readonly core: Core;
  private readonly dialog: Dialog;
  private readonly event: string;
  private readonly over: () => void;
  private underWay = false;
  private next: Report | undefined;
  private latest: Buffer | undefined;
  private ended = false;
  private readonly timeline: Timeline;
  private dueAt: number;
  private timer: TimerHandle;

  /**
   * `event`: value of Event. `until`: by the timeline. `over`: called when nobody takes the reports any more, or their
   * time is up.
   */
  constructor(core: Core, dialog: Dialog, event: string, timeline: Timeline, until: number, over: () => void) {
    this.core = core;
    this.dialog = dialog;
    this.event = event;
    this.over = over;
    this.timeline = timeline;
    this.dueAt = until;
    this.arm();
  }

  /** Reports a state. `last`: this is the last report. */
  tell(fragment: Buffer, last = false): void {
    this.latest = fragment;
    this.put(last ? { fragment, last: "noresource" } : { fragment });
  }

  /** A SUBSCRIBE came: reports the present state, and goes on until `until` (RFC 6665 §4.2.1.2). */
  prolong(until: number): void {
    if (this.ended) return;
    this.dueAt = until;
    if (until > this.timeline.now()) {
      this.arm();
      if (this.latest) this.put({ fragment: this.latest });
    } else this.expire();
  }

  /** Sends no more reports. The transaction of one that is under way goes on. */
  stop(): void {
    this.ended = true;
    this.next = undefined;
    this.core.clock.clearTimeout(this.timer);
  }

  private arm(): void {
    this.core.clock.clearTimeout(this.timer);
    this.timer = this.core.clock.setTimeout(() => this.expire(), Math.max(0, this.dueAt - this.timeline.now()));
  }

  private expire(): void {
    // RFC 6665 §4.4.1: the last report says that the time is up.
    if (this.latest) this.put({ fragment: this.latest, last: "timeout" });
    this.over();
  }

  private put(report: Report): void {
    if (this.ended) return;
    if (report.last) {
      this.ended = true;
      this.next = undefined;
      this.core.clock.clearTimeout(this.timer);
    }
    if (this.underWay && !report.last) this.next = report;
    else this.send(report);
  }

  private send(report: Report): void {
    this.underWay = true;
    const notify = this.build(report);
    const user = {
      final: ({ status }: { status: number }) => this.sent(status < 300),
      timeout: () => this.sent(false),
      transportError: () => this.sent(false),
    };
    sendWithin(this.core, this.dialog, notify, user);
  }

  private sent(taken: boolean): void {
    this.underWay = false;
    if (!taken) {
      // RFC 6665 §4.2.2: an error answer or none ends the subscription.
      const running = !this.ended;
      this.stop();
      if (running) this.over();
      return;
    }
    const { next } = this;
    this.next = undefined;
    if (next) this.send(next);
  }

  private build({ fragment, last }: Report): SipRequest {
    const notify = requestWithin(this.dialog, "NOTIFY");
    const leftS = Math.max(0, Math.ceil((this.dueAt - this.timeline.now()) / 1000));
    notify.headers
      .add("Event", this.event)
      .add("Subscription-State", last ? `terminated;reason=${last}` : `active;expires=${leftS}`)
      .add("Content-Type", SIPFRAG);
    notify.body = fragment;
    return notify;
  }
}
