import { CHARGE_JSON, PACKAGE } from "../../src/charging/charges/body.ts";
import type { SipResponse } from "../../src/sip/message.ts";
import type { ServerTransaction } from "../../src/transaction/types.ts";
import { Agent, type Filling, type Half } from "./agent.ts";

/** From then on nobody begins anything, and the network is good. */
export const CALM_MS = 180_000;
/**
 * When clients hang up who have not yet. App servers never do: whoever stands alone then has been forgotten by the
 * relay.
 */
export const HOME_MS = CALM_MS + 150_000;

const description = (service: string): Filling => ({
  type: "application/vnd.tollgate.service+xml",
  body: `<service name="${service}"/>`,
});

/** What a session may be changed to, or moved to. */
export const SERVICES = ["wine", "beer", "tea"] as const;

/** Asks for services, changes them, moves, hangs up, gives up, vanishes; which, is chance. */
export class ClientAgent extends Agent {
  /** 2xx that came, by what the relay's To tag was. */
  answers = 0;
  /** How long it waited for the answer to a BYE, at most. */
  waitedMs = 0;

  /** Plays one story from its INVITE on. */
  play(): void {
    const { chance } = this.around;
    const service = chance.of(SERVICES);
    const given = { up: false };
    const headers: [string, string][] = chance.percent(40) ? [["Supported", "100rel"]] : [];
    const call = this.invite(
      `sip:${service}@portal.com`,
      { ...description(service), headers },
      {
        answered: (half) => {
          this.answers++;
          if (given.up || chance.percent(10)) this.hangUp(half);
          else this.live(half);
        },
        failed: () => {},
      },
    );
    if (!chance.percent(15)) return;
    this.later(0, 8_000, () => {
      given.up = true;
      call.cancel();
    });
  }

  private live(half: Half): void {
    const { chance } = this.around;
    for (let i = chance.between(0, 3); i > 0; i--) this.later(50, 60_000, () => this.act(half));
    this.later(0, 90_000, () => this.hangUp(half));
  }

  private act(half: Half): void {
    const { chance } = this.around;
    if (!this.isOpen(half) || half.leaving || half.changing || half.answer) return;
    const what = chance.between(0, 9);
    if (what < 2) this.change(half, "INVITE", { type: "application/sdp", body: "v=0 hold" });
    else if (what < 3) this.change(half, "UPDATE", {});
    else if (what < 5) this.change(half, "INVITE", description(chance.of(SERVICES)));
    else if (what < 6) this.change(half, "UPDATE", description(chance.of(SERVICES)));
    else if (what < 7) this.within(half, "MESSAGE", { type: "text/plain", body: "hello" });
    else if (what < 9) this.refer(half);
    else this.replace(half);
  }

  protected override hangUp(half: Half): void {
    const { clock } = this.around;
    const at = clock.monotonic();
    super.hangUp(half, {}, () => {
      this.waitedMs = Math.max(this.waitedMs, clock.monotonic() - at);
    });
  }

  private change(half: Half, method: string, filling: Filling): void {
    half.changing = true;
    const asking = this.within(half, method, filling, () => {
      half.changing = false;
    });
    if (method === "INVITE" && this.around.chance.percent(20))
      this.later(0, 5_000, () => half.changing && asking.cancel());
  }

  /** Moves on to another service, and lets the first go on or not (M23, M24). */
  private refer(half: Half): void {
    const { chance } = this.around;
    const target = `<sip:${chance.of(SERVICES)}@portal.com>`;
    const headers: [string, string][] = [["Refer-To", target]];
    if (chance.percent(30)) headers.push(["Refer-Sub", "false"], ["Supported", "norefersub"]);
    if (chance.percent(70)) {
      this.within(half, "REFER", { headers });
      return;
    }
    // Outside of the dialog (RFC 4538). What it is told by NOTIFY belongs to nothing here, and is refused.
    const { callId, localTag, remoteTag } = half.dialog;
    headers.push(["Target-Dialog", `${callId};local-tag=${localTag};remote-tag=${remoteTag}`], ["Require", "tdialog"]);
    this.outside("REFER", "sip:portal.com", { headers });
  }

  /** The same by an INVITE with Replaces. */
  private replace({ dialog }: Half): void {
    const service = this.around.chance.of(SERVICES);
    const replaces = `${dialog.callId};to-tag=${dialog.remoteTag};from-tag=${dialog.localTag}`;
    this.invite(
      `sip:${service}@portal.com`,
      { ...description(service), headers: [["Replaces", replaces]] },
      {
        answered: (half) => this.live(half),
        failed: () => {},
      },
    );
  }

  /** The relay calls: a second session beside the first (M24). */
  protected invited(transaction: ServerTransaction): void {
    const { chance } = this.around;
    if (chance.percent(10)) {
      this.reply(transaction, 486, {}, this.around.random.token(64));
      return;
    }
    const half = this.halfFor(transaction);
    let cancelled = false;
    transaction.onCancel = () => {
      cancelled = true;
      this.forget(half);
      this.reply(transaction, 487, {}, half.dialog.localTag);
    };
    this.later(0, 3_000, () => {
      if (cancelled) return;
      this.answer(half, transaction, { type: "application/sdp", body: "v=0" });
      this.live(half);
    });
  }

  /** Sessions at the end that the relay knew nothing of. */
  alone = 0;

  goHome(): void {
    for (const half of [...this.halves.values()]) {
      this.within(half, "BYE", {}, (status) => {
        if (status !== 200) this.alone++;
        this.forget(half);
      });
    }
  }
}

/** One charge that an app server has asked for. */
export interface Asked {
  readonly id: string;
  /** Answered with 200: then it has to be on the bill. */
  taken: boolean;
  /** It stood in an answer to BYE, which nobody answers. */
  lastWord?: boolean;
}

/**
 * Offers services: answers soon, late or never, charges by INFO, with its BYE and its 200 to BYE, hangs up, changes,
 * vanishes.
 */
export class ServerAgent extends Agent {
  readonly asked: Asked[] = [];
  private charges = 0;

  protected invited(transaction: ServerTransaction): void {
    const { chance, random } = this.around;
    const mood = chance.between(0, 99);
    if (mood < 8) {
      transaction.onCancel = () => this.reply(transaction, 487, {}, "none");
      return; // says nothing at all
    }
    const half = this.halfFor(transaction);
    const tag = half.dialog.localTag;
    let over = false;
    const refuse = (status: number) => {
      over = true;
      this.forget(half);
      this.reply(transaction, status, {}, tag);
    };
    transaction.onCancel = () => {
      if (!over) refuse(487);
    };
    const reliable = /100rel/.test(transaction.request.headers.get("supported") ?? "") && chance.percent(50);
    if (mood < 80)
      this.later(0, 2_000, () => {
        if (over) return;
        if (reliable) this.ring(half, transaction, () => over, refuse);
        else this.reply(transaction, 180, { headers: [["Contact", this.contact]] }, tag);
      });
    if (mood < 14) {
      // Rings and rings. Where every word of it was lost, nobody ever tells it that the INVITE was given up (RFC 3261
      // §17.1.1.2).
      this.later(HOME_MS, HOME_MS, () => over || refuse(480));
      return;
    }
    this.later(0, chance.percent(10) ? 20_000 : 4_000, () => {
      if (over) return;
      if (mood < 30) {
        refuse(chance.of([404, 480, 486, 503, 603]));
        return;
      }
      over = true;
      this.answer(half, transaction, { type: "application/json", body: `{"url":"http://${random.token(32)}"}` });
      // Before the ACK: too early, or in time where the clock runs from the answer.
      if (chance.percent(10)) this.later(0, 300, () => this.charge(half));
    });
  }

  /** A 180 that is repeated until its PRACK comes; without one the INVITE is refused (RFC 3262 §3). */
  private ring(
    half: Half,
    transaction: ServerTransaction,
    isOver: () => boolean,
    refuse: (status: number) => void,
  ): void {
    const rseq = this.around.chance.between(1, 1_000);
    half.ringing = rseq;
    const headers: [string, string][] = [
      ["Contact", this.contact],
      ["Require", "100rel"],
      ["RSeq", String(rseq)],
    ];
    const again = (afterMs: number) => {
      if (isOver() || half.ringing !== rseq) return;
      if (afterMs > 32_000) {
        refuse(504);
        return;
      }
      this.reply(transaction, 180, { headers }, half.dialog.localTag);
      this.later(afterMs, afterMs, () => again(afterMs * 2));
    };
    again(500);
  }

  protected override acknowledged(half: Half, transaction: ServerTransaction): void {
    if (transaction.request.toTag !== undefined) return;
    const { chance } = this.around;
    for (let i = chance.between(0, 3); i > 0; i--) this.later(10, 60_000, () => this.charge(half));
    if (chance.percent(30)) this.later(1_000, 60_000, () => this.update(half));
    if (chance.percent(20)) this.later(10, 60_000, () => this.leave(half, 30));
  }

  /** Hangs up, and charges with its BYE in so many of a hundred cases. */
  private leave(half: Half, percent: number): void {
    if (half.leaving || !this.isOpen(half)) return;
    const asked = this.around.chance.percent(percent) ? this.ask() : undefined;
    this.hangUp(half, asked && bodyOf(asked), (status) => {
      if (asked && status === 200) asked.taken = true;
    });
  }

  private update(half: Half): void {
    if (!this.isOpen(half) || half.leaving || half.changing || half.answer) return;
    half.changing = true;
    const { chance } = this.around;
    const method = chance.of(["INVITE", "UPDATE"]);
    // Another service (M22), which the relay lets it change to where it offers that; or nothing but a refresh.
    const filling = chance.percent(50) ? description(chance.of(SERVICES)) : { type: "application/sdp", body: "v=0" };
    this.within(half, method, filling, () => {
      half.changing = false;
    });
  }

  private charge(half: Half, again?: Asked): void {
    if (!this.isOpen(half) || half.leaving) return;
    const asked = again ?? this.ask();
    const filling = { ...bodyOf(asked), headers: [["Info-Package", PACKAGE]] as [string, string][] };
    this.within(half, "INFO", filling, (status: number, _response?: SipResponse) => {
      if (status === 200) asked.taken = true;
      // It came too early, or the disk was full.
      if (status === 500) this.later(1_000, 2_000, () => this.charge(half, asked));
      // The same once more, as after a doubt: it may be charged only once.
      else if (again === undefined && this.around.chance.percent(30))
        this.later(10, 5_000, () => this.charge(half, asked));
    });
  }

  /** A BYE came: its own crosses it now and then, and its answer may be late. */
  protected override hungUp(half: Half, transaction: ServerTransaction): void {
    const { chance } = this.around;
    if (chance.percent(20)) this.leave(half, 70);
    if (chance.percent(20)) this.later(0, 25_000, () => super.hungUp(half, transaction));
    else super.hungUp(half, transaction);
    if (this.around.chance.percent(30)) this.later(10, 40_000, () => this.chargeLate(half));
  }

  /** What it has collected, by INFO in the dialog that is over (M15). */
  private chargeLate(half: Half): void {
    const asked = this.ask();
    const filling = { ...bodyOf(asked), headers: [["Info-Package", PACKAGE]] as [string, string][] };
    this.within(half, "INFO", filling, (status: number) => {
      if (status === 200) asked.taken = true;
    });
  }

  /** Nobody says whether these were taken. */
  protected override farewell(): Filling {
    if (!this.around.chance.percent(30)) return {};
    const asked = this.ask();
    asked.lastWord = true;
    return bodyOf(asked);
  }

  private ask(): Asked {
    const asked: Asked = { id: `${this.host.address}-${++this.charges}`, taken: false };
    this.asked.push(asked);
    return asked;
  }
}

const bodyOf = ({ id }: Asked): Filling => ({
  type: CHARGE_JSON,
  body: JSON.stringify({ charges: [{ id, item: "thing", unitPrice: "1.00", currency: "EUR" }] }),
});
