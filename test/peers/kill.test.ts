import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import { measureKill } from "../bench/kill.ts";
import { peerTest } from "../support/peer-test.ts";

const HOLD_MS = 10_000;
const PATIENCE_MS = 10_000;

peerTest(
  "sessions over UDP and TCP stand, kill -9, a new start: all of them hang up by themselves, and are billed for their time (P7; npm run bench:kill for 600)",
  ["sipp"],
  60_000,
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "tollgate-kill-"));
    try {
      const [udp, tcp] = [40, 10];
      const figures = await measureKill({
        system: "tollgate",
        folder,
        udp,
        tcp,
        holdMs: HOLD_MS,
        downMs: 300,
        say: () => {},
      });
      expect(figures).toMatchObject({ hungUp: { udp, tcp }, recorded: udp + tcp });
      // To the second where the machine keeps up; SIPp's own pause is the longer the less it does.
      expect(figures.shortestMs).toBeGreaterThan(HOLD_MS - 1_000);
      expect(figures.longestMs).toBeLessThan(HOLD_MS + figures.awayMs + PATIENCE_MS);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
);
