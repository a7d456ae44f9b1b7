import { certificates } from "./certificates.ts";
import { dns } from "./dns.ts";
import { bus, files, limits, storeAndClock } from "./machine.ts";
import { ports } from "./ports.ts";
import { appServers, reach, rtpengines } from "./reach.ts";
import { type Check, type Finding, problem, type Surroundings } from "./types.ts";

/** All that the doctor looks at. A new check takes a row here. */
export const CHECKS: readonly Check[] = [
  { id: "ports", title: "ports", look: ports },
  { id: "reach", title: "what clients are told", look: reach },
  { id: "certificates", title: "certificates", look: certificates },
  { id: "dns", title: "DNS", look: dns },
  { id: "files", title: "files and disk", look: files },
  { id: "limits", title: "limits of the system", look: limits },
  { id: "bus", title: "bus", look: bus },
  { id: "store", title: "store and clock", look: storeAndClock },
  { id: "appServers", title: "app servers", look: appServers },
  { id: "media", title: "media relays", look: rtpengines },
];

export interface Diagnosis {
  readonly id: string;
  readonly title: string;
  readonly findings: readonly Finding[];
}

/** Looks at everything, one after the other. A check that takes longer than `withinMs` is a problem itself. */
export async function* diagnose(
  world: Surroundings,
  withinMs: number,
  checks: readonly Check[] = CHECKS,
): AsyncGenerator<Diagnosis> {
  for (const { id, title, look } of checks) {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<readonly Finding[]>((resolve) => {
      const seconds = Math.round(withinMs / 1_000);
      const finding = problem(`no answer within ${seconds} s`, "see whether a server that it asks is reachable");
      timer = setTimeout(() => resolve([finding]), withinMs);
    });
    const looked = Promise.resolve()
      .then(() => look(world))
      .catch((error: Error) => [
        problem(error.message, "this is a fault of the doctor's own, if it says nothing else"),
      ]);
    const findings = await Promise.race([looked, late]);
    clearTimeout(timer);
    yield { id, title, findings };
  }
}
