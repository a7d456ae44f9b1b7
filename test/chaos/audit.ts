import type { SipMessage, SipRequest } from "../../src/sip/message.ts";
import { timeOf } from "./calls.ts";

/** A node as the audit needs it. */
export interface Watched {
  readonly name: string;
  readonly port: number;
  /** Since when it is cut off from the others; undefined: it is not. */
  readonly cutAt: number | undefined;
}

/**
 * A node that is cut off may send for so long: until others may call it dead, and while what it sent lies in a queue.
 */
const SILENT_AFTER_MS = 1_500;
/** A node that takes a session up skips some more numbers than that. */
const SKIPPED = 900;
const MOST_FAULTS = 50;

interface DialogSeen {
  highest: number;
  /** From which node that one came. */
  from: number;
  /** By CSeq number: method and branch. */
  readonly branches: Map<number, string>;
  /** What has come, for the message of a fault. */
  readonly history: string[];
  bye: { readonly port: number; readonly number: number } | undefined;
}

/**
 * Looks at what the peers get from the nodes: whether two nodes act for one session. Each node that takes a session up
 * goes on with far higher CSeq numbers. So a request with a number that was used, or with a lower one from another
 * node, is from a node that does not know that it lost the session.
 */
export class Audit {
  readonly faults: string[] = [];
  private readonly nodes: () => readonly Watched[];
  private readonly dialogs = new Map<string, DialogSeen>();

  private readonly silentWhenCut: boolean;

  /** `silentWhenCut`: a node that is cut off from NATS cannot know that others still hear it. */
  constructor(nodes: () => readonly Watched[], { silentWhenCut }: { readonly silentWhenCut: boolean }) {
    this.nodes = nodes;
    this.silentWhenCut = silentWhenCut;
  }

  /** A peer got this message from this port. */
  seen(message: SipMessage, port: number): void {
    const node = this.nodes().find((one) => one.port === port);
    if (this.silentWhenCut && node?.cutAt !== undefined && Date.now() - node.cutAt > SILENT_AFTER_MS)
      this.fault(`${node.name} is cut off and sends ${message.isRequest ? message.method : message.status}`);
    if (message.isRequest && message.toTag !== undefined && message.method !== "ACK" && message.method !== "CANCEL")
      this.request(message, node, port);
  }

  private request(request: SipRequest, node: Watched | undefined, port: number): void {
    const key = `${request.callId} ${request.toTag} ${request.fromTag}`;
    const number = request.cseq?.number ?? 0;
    const branch = `${request.method} ${request.via?.params.get("branch")}`;
    let dialog = this.dialogs.get(key);
    if (!dialog) {
      dialog = { highest: 0, from: port, branches: new Map(), history: [], bye: undefined };
      this.dialogs.set(key, dialog);
    }
    const before = dialog.branches.get(number);
    dialog.history.push(`${timeOf(Date.now())} ${node?.name ?? port} ${request.method} ${number}`);
    if (before === branch) return; // sent again
    const what = `${request.method} ${number} of ${request.callId} from ${node?.name ?? port}`;
    if (before !== undefined)
      this.fault(
        `a CSeq is used twice: ${what}, before ${before.split(" ")[0]}; ${dialog.history.slice(-8).join(", ")}`,
      );
    else if (number < dialog.highest && dialog.from !== port)
      this.fault(`an old CSeq: ${what} after ${dialog.highest}; ${dialog.history.slice(-8).join(", ")}`);
    dialog.branches.set(number, branch);
    if (number > dialog.highest) {
      dialog.highest = number;
      dialog.from = port;
    }
    if (request.method === "BYE") this.bye(dialog, port, number, what);
  }

  private bye(dialog: DialogSeen, port: number, number: number, what: string): void {
    const { bye } = dialog;
    // Its first owner may have died before it heard the answer; then the next one has skipped many numbers.
    if (bye && bye.port !== port && number < bye.number + SKIPPED)
      this.fault(`a second BYE, from another node: ${what}; the first from ${bye.port}`);
    dialog.bye = { port, number };
  }

  private fault(text: string): void {
    if (this.faults.length < MOST_FAULTS) this.faults.push(`${timeOf(Date.now())} ${text}`);
  }
}
