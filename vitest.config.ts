import { defineConfig } from "vitest/config";

export default defineConfig({
  // XState's development build warns of actors that act within each other's actions, as these do on purpose.
  ssr: { resolve: { conditions: ["module", "node"], externalConditions: ["node"] } },
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 10_000,
  },
});
