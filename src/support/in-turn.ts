/** Does things one after the other. What is under way says when it is over, and only then the next one begins. */
export class InTurn {
  private readonly most: number;
  /** What waits for the one before. Undefined: none is under way. */
  private waiting: (() => void)[] | undefined;

  /** `most`: how many may wait; what comes beyond that is left out. */
  constructor(most = Number.POSITIVE_INFINITY) {
    this.most = most;
  }

  /** Calls `run` when all before it is over; it calls `over` when it is over itself. */
  run(run: (over: () => void) => void): void {
    const begin = () => run(this.over);
    if (!this.waiting) {
      this.waiting = [];
      begin();
    } else if (this.waiting.length < this.most) this.waiting.push(begin);
  }

  private readonly over = (): void => {
    const next = this.waiting?.shift();
    if (next) next();
    else this.waiting = undefined;
  };
}
