/** An event that fails so often, each time after the endpoint has taken others in between, is at fault itself. */
const ALONE_MOST = 12;
/** So is one that fails so often since the endpoint has taken others: there may be none left that it could take. */
const ALONE_LONG = 24;
/**
 * A batch at which the endpoint fails so often is too much for it, or has an event that is: they go one by one then.
 */
const TOGETHER_MOST = 6;

/** Whose fault it is that an endpoint fails at some events: theirs, where it takes others meanwhile. */
export class Blame {
  private readonly counters: { readonly delivered: number };
  private failed = 0;
  /** How often, after others were taken since the time before. */
  private alone = 0;
  /** How often, after others were taken at all. */
  private aloneLong = 0;
  private deliveredLast: number;
  /** When it failed for the first time, so that no outage before that is taken for this one's fault. */
  private deliveredFirst: number | undefined;

  /**
   * `counters`: how many events the endpoint has taken by now. `since`: how many it had taken when it was found to fail
   * at some of these; undefined: it was not.
   */
  constructor(counters: { readonly delivered: number }, since: number | undefined) {
    this.counters = counters;
    this.deliveredLast = counters.delivered;
    this.deliveredFirst = since;
  }

  /** It was not taken. `failed`: the endpoint failed at it, and did not just say to come later. */
  wasNotTaken(failed: boolean): void {
    const { delivered } = this.counters;
    if (failed) {
      this.failed++;
      if (delivered > this.deliveredLast) this.alone++;
      this.deliveredFirst ??= delivered;
      if (delivered > this.deliveredFirst) this.aloneLong++;
    }
    this.deliveredLast = delivered;
  }

  /** Of a batch: its events are to go one by one. */
  get isTooMuch(): boolean {
    return this.failed >= TOGETHER_MOST;
  }

  /** Of one event: it is to be put aside. */
  get isItsOwn(): boolean {
    return this.alone >= ALONE_MOST || this.aloneLong >= ALONE_LONG;
  }
}
