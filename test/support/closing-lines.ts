import type { Reporter, SerializedError, TestModule } from "vitest/node";

/**
 * The last lines of the test command: which tests passed only when they were tried again, which were skipped and why,
 * then how many passed, failed and were skipped.
 */
export default class ClosingLines implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly SerializedError[]): void {
    const count = { passed: 0, failed: 0, skipped: 0, pending: 0 };
    const reasons = new Map<string, number>();
    for (const module of modules) {
      // A file that cannot be loaded has no tests to fail.
      if (module.errors().length > 0 || (module.state() === "failed" && module.children.size === 0)) count.failed++;
      for (const test of module.children.allTests()) {
        const result = test.result();
        count[result.state]++;
        if (test.diagnostic()?.flaky) {
          console.log(`passed when it was tried again: ${module.relativeModuleId} > ${test.fullName}`);
          for (const { message } of result.errors ?? []) console.log(`  ${message.split("\n", 1)[0]}`);
        }
        if (result.state !== "skipped") continue;
        const reason = result.note ?? "marked as skipped in the code";
        reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
        console.log(`skipped: ${module.relativeModuleId} > ${test.fullName}`);
      }
    }
    for (const [reason, tests] of reasons) console.log(`skipped ${tests}: ${reason}`);
    const note = process.env.CLOSING_NOTE; // what the test command found besides
    if (note) console.log(note);
    if (errors.length > 0) console.log(`${errors.length} errors outside of tests`);
    if (count.pending > 0) console.log(`${count.pending} tests did not run to their end`);
    console.log(
      `${count.passed} passed, ${count.failed + count.pending + errors.length} failed, ${count.skipped} skipped`,
    );
  }
}
