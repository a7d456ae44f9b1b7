import type { Clock, TimerHandle } from "../../support/clock.ts";

export interface CaughtUpOptions {
  /**
   * Resolves when billing has handled everything that was recorded before the call; rejects when that cannot be known.
   */
  readonly handled: () => Promise<void>;
  readonly clock: Pick<Clock, "setTimeout" | "clearTimeout">;
  /** After that, the answer is no; default 2 s. */
  readonly withinMs?: number;
}

/**
 * Says whether billing has caught up. Ask this before you ask the store about a session: the bill is complete only when
 * billing has seen what was recorded. Callers that ask at the same time share one answer; it always comes from a check
 * that began after each of them had asked.
 */
export class CaughtUp {
  private readonly options: CaughtUpOptions;
  private asking: Promise<boolean> | undefined;
  private next: Promise<boolean> | undefined;
  /** An answer that did not come in time. As long as it has not come, later answers cannot come either. */
  private late: Promise<void> | undefined;

  constructor(options: CaughtUpOptions) {
    this.options = options;
  }

  /** Whether the store has what was recorded before the call. Never rejects. */
  ask(): Promise<boolean> {
    if (!this.asking) return this.begin();
    this.next ??= this.asking.then(() => {
      this.next = undefined;
      return this.begin();
    });
    return this.next;
  }

  private begin(): Promise<boolean> {
    const asking = this.inTime().finally(() => {
      this.asking = undefined;
    });
    this.asking = asking;
    return asking;
  }

  private async inTime(): Promise<boolean> {
    const { clock, withinMs = 2_000 } = this.options;
    let timer: TimerHandle;
    let isOver = false;
    const tooLate = new Promise<boolean>((resolve) => {
      timer = clock.setTimeout(() => {
        isOver = true;
        resolve(false);
      }, withinMs);
    });
    const handled = (this.late ?? Promise.resolve()).then(() => !isOver && this.handled());
    return Promise.race([handled, tooLate]).finally(() => clock.clearTimeout(timer));
  }

  private handled(): Promise<boolean> {
    const answer = this.options.handled().then(
      () => true,
      () => false,
    );
    const late = answer.then(() => {
      if (this.late === late) this.late = undefined;
    });
    this.late = late;
    return answer;
  }
}
