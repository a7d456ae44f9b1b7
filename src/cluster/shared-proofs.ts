import type { Admission, AdmissionElsewhere } from "../relay/admission/admission.ts";
import type { NodeRun } from "./beat.ts";
import type { Line, Talk } from "./talk.ts";

/** An address that has shown to one node that it is not forged has shown it to all. */
export class SharedProofs {
  private readonly talk: Talk;
  private admission: Admission | undefined;

  constructor(talk: Talk) {
    this.talk = talk;
    talk.on("proved", ([, key, agoMs]) => {
      if (typeof key === "string" && key.length <= MAX_KEY && typeof agoMs === "number" && agoMs >= 0)
        this.admission?.provedElsewhere(key, agoMs);
    });
  }

  readonly proved: AdmissionElsewhere["proved"] = (key) => this.talk.tell(["proved", key, 0]);

  attach(admission: Admission): void {
    this.admission = admission;
  }

  greet({ node }: NodeRun, wantsAll: boolean): void {
    if (wantsAll && this.admission) this.talk.stream(node, linesOf(this.admission));
  }
}

function* linesOf(admission: Admission): Generator<Line> {
  for (const [key, agoMs] of admission.provenNow()) yield ["proved", key, agoMs];
}

const MAX_KEY = 300;
