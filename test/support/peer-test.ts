import { it } from "vitest";
import { isInstalled, stopAll } from "./peers.ts";

/**
 * A test that needs other programs. Where one is not installed the test is skipped, with the reason; the last lines of
 * the test command repeat it. Whatever was started is stopped at the end.
 */
export function peerTest(title: string, needs: readonly string[], timeoutMs: number, act: () => Promise<void>): void {
  it(title, { timeout: timeoutMs }, async ({ skip }) => {
    const missing = needs.filter((program) => !isInstalled(program));
    skip(
      missing.length > 0,
      `${missing.join(" and ")} is not installed (Debian: apt-get install sip-tester baresip-core)`,
    );
    try {
      await act();
    } finally {
      await stopAll();
    }
  });
}
