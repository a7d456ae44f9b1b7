import { cpus } from "node:os";

const LOOK_MS = 1_000;
/** With less than this idle, whatever has to be on time is late. */
const FULL_PERCENT = 5;

/**
 * How much of the machine's processors is used meanwhile: what is late on a full machine says little of the cluster.
 */
export class Machine {
  private readonly timer: NodeJS.Timeout;
  private readonly startedAt = process.cpuUsage();
  private before = times();
  private idle = 0;
  private all = 0;
  private looks = 0;
  private full = 0;

  constructor() {
    this.timer = setInterval(() => this.look(), LOOK_MS);
    this.timer.unref();
  }

  private look(): void {
    const now = times();
    const [idle, all] = [now.idle - this.before.idle, now.all - this.before.all];
    this.before = now;
    this.idle += idle;
    this.all += all;
    this.looks++;
    if (idle * 100 < FULL_PERCENT * all) this.full++;
  }

  /** Ends the looking, and says what was seen. */
  end(): string {
    clearInterval(this.timer);
    const { user, system } = process.cpuUsage(this.startedAt);
    const percent = (part: number, whole: number) => Math.round((part / Math.max(1, whole)) * 100);
    const own = percent((user + system) / 1_000, this.all);
    return `machine: ${cpus().length} processors, ${percent(this.idle, this.all)} % idle, full in ${this.full} of ${this.looks} seconds; clients and app server took ${own} %`;
  }
}

function times(): { readonly idle: number; readonly all: number } {
  let [idle, all] = [0, 0];
  for (const { times: of } of cpus()) {
    idle += of.idle;
    all += of.user + of.nice + of.sys + of.irq + of.idle;
  }
  return { idle, all };
}
