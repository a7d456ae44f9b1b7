import { type Arrow, type Lane, ladderHead, ladderNote, ladderRow } from "./ladder.ts";

/** Prints the ladders as they happen, and keeps every arrow. */
export class Printer {
  readonly scenes: { readonly title: string; readonly arrows: Arrow[] }[] = [];
  private readonly write: (line: string) => void;
  private readonly fancy: boolean;
  private startedAt = 0;

  /** `write` takes one line without its end. */
  constructor(write: (line: string) => void, fancy: boolean) {
    this.write = write;
    this.fancy = fancy;
  }

  say(line = ""): void {
    this.write(line);
  }

  /** Begins a scene: a title and the names of the columns; its clock starts now. */
  scene(title: string, names: Readonly<Record<Lane, string>>): void {
    this.startedAt = Date.now();
    this.scenes.push({ title, arrows: [] });
    this.write("");
    this.write(this.fancy ? `\u001b[1;4m${title}\u001b[0m` : title);
    this.write("");
    this.write(ladderHead(names, { fancy: this.fancy }));
  }

  /** `at`: milliseconds since 1970. Outside of a scene nothing is drawn. */
  arrow(at: number, from: Lane, to: Lane, label: string): void {
    const scene = this.scenes.at(-1);
    if (!scene) return;
    const arrow = { atMs: Math.max(0, at - this.startedAt), from, to, label };
    scene.arrows.push(arrow);
    this.write(ladderRow(arrow, { fancy: this.fancy }));
  }

  note(text: string): void {
    this.write(ladderNote(text, { fancy: this.fancy }));
  }
}
