import { systemClock } from "../../support/clock.ts";
import { type Arrow, type LadderStyle, type Lane, ladderHead, ladderNote, ladderRow, type Names } from "./ladder.ts";

/** Prints the ladders as they happen, and keeps every arrow. */
export class Printer {
  readonly scenes: { readonly title: string; readonly arrows: Arrow[] }[] = [];
  private readonly write: (line: string) => void;
  private readonly fancy: boolean;
  private style: LadderStyle;
  private startedAt = 0;
  private waiting: (() => void)[] = [];

  /** `write` takes one line without its end. */
  constructor(write: (line: string) => void, fancy: boolean) {
    this.write = write;
    this.fancy = fancy;
    this.style = { fancy };
  }

  say(line = ""): void {
    this.write(line);
  }

  /** Begins a scene: a title and the names of the columns; its clock starts now. */
  scene(title: string, names: Names): void {
    this.style = { fancy: this.fancy, servers: names.second === undefined ? 1 : 2 };
    this.startedAt = Date.now();
    this.scenes.push({ title, arrows: [] });
    this.write("");
    this.write(this.fancy ? `\u001b[1;4m${title}\u001b[0m` : title);
    this.write("");
    this.write(ladderHead(names, this.style));
  }

  /** `at`: milliseconds since 1970. Outside of a scene nothing is drawn. */
  arrow(at: number, from: Lane, to: Lane, label: string): void {
    const scene = this.scenes.at(-1);
    if (!scene) return;
    const arrow = { atMs: Math.max(0, at - this.startedAt), from, to, label };
    scene.arrows.push(arrow);
    this.write(ladderRow(arrow, this.style));
    this.wake();
  }

  /** Resolves when this scene has so many such arrows, or after `ms`. */
  drawn(from: Lane, to: Lane, label: string, times: number, ms: number): Promise<void> {
    const arrows = this.scenes.at(-1)?.arrows ?? [];
    return this.until(
      () => arrows.filter((arrow) => arrow.from === from && arrow.to === to && arrow.label === label).length >= times,
      ms,
    );
  }

  /** Whether there is such an arrow in this scene. */
  hasDrawn(from: Lane, to: Lane, label: string): boolean {
    return (this.scenes.at(-1)?.arrows ?? []).some(
      (arrow) => arrow.from === from && arrow.to === to && arrow.label === label,
    );
  }

  /**
   * What went over the wire between the relay and that side in this scene, in order: `> INVITE wine` for what the side
   * sent, `< 200 (BYE)` for what it got. 100 Trying is left out, since it may or may not come.
   */
  exchanged(side: Lane): string[] {
    const arrows = this.scenes.at(-1)?.arrows ?? [];
    const between = arrows.filter(
      ({ from, to }) => (from === side && to === "relay") || (from === "relay" && to === side),
    );
    return between
      .map(({ from, label }) => `${from === side ? ">" : "<"} ${withoutReason(label)}`)
      .filter((text) => !/^[<>] 100$/.test(text));
  }

  /** The same, when there are that many messages, or after `ms`. */
  async settled(side: Lane, count: number, ms: number): Promise<string[]> {
    await this.until(() => this.exchanged(side).length >= count, ms);
    return this.exchanged(side);
  }

  note(text: string): void {
    this.write(ladderNote(text, this.style));
  }

  /** Checks again after each arrow. */
  private async until(holds: () => boolean, ms: number): Promise<void> {
    const end = systemClock.monotonic() + ms;
    const timer = setTimeout(() => this.wake(), ms);
    while (!holds() && systemClock.monotonic() < end) await new Promise<void>((resolve) => this.waiting.push(resolve));
    clearTimeout(timer);
  }

  private wake(): void {
    for (const look of this.waiting.splice(0)) look();
  }
}

/** `404 Not Found` as `404`: a reason phrase is for people. */
const withoutReason = (label: string) => label.replace(/^(\d{3}) [^(,]*?(?= \(|,|$)/, "$1");
