import { defineConfig } from "vitest/config";

/** Folders whose tests start processes, servers and browsers: a worker for each file, and nothing else beside it. */
const WITH_PROCESSES = "app-servers|bus|chaos|cli|console|e2e|faults|node|peers|soak|store";

export default defineConfig({
  // XState's development build warns of actors that act within each other's actions, as these do on purpose.
  ssr: { resolve: { conditions: ["module", "node"], externalConditions: ["node"] } },
  test: {
    testTimeout: 10_000,
    globalSetup: "./test/support/temporary-files.ts",
    projects: [
      {
        extends: true,
        test: {
          name: "within",
          include: ["test/*.test.ts", `test/!(${WITH_PROCESSES})/**/*.test.ts`],
          // These share nothing but modules, which are loaded once: a third of the time went into loading them.
          isolate: false,
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: "processes",
          include: [`test/@(${WITH_PROCESSES})/**/*.test.ts`],
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
