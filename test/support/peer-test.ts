import { afterAll, it } from "vitest";
import { isInstalled, stopAll } from "./peers.ts";

/** In which of Debian's packages a program is. */
const DEBIAN: Readonly<Record<string, string>> = {
  sipp: "sip-tester",
  baresip: "baresip-core",
  linphonec: "linphone-cli",
  nginx: "nginx-light libnginx-mod-stream",
  rtpengine: "rtpengine-daemon",
  "kamailio:secsipid": "kamailio kamailio-secsipid-modules",
};

/**
 * A test that needs other programs. Where one is not installed the test is skipped, with the reason; the last lines of
 * the test command repeat it. Such tests of one file run beside each other: most of their time is waiting.
 */
export function peerTest(title: string, needs: readonly string[], timeoutMs: number, act: () => Promise<void>): void {
  it.concurrent(title, { timeout: timeoutMs }, async ({ skip }) => {
    const missing = needs.filter((program) => !isInstalled(program));
    const packages = missing.map((program) => DEBIAN[program] ?? program).join(" ");
    skip(missing.length > 0, `${missing.join(" and ")} is not installed (Debian: apt-get install ${packages})`);
    await act();
  });
}

// Whatever a failed test left running.
afterAll(stopAll);
