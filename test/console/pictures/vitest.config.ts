import { defineConfig } from "vitest/config";

/* `npm run pictures`: this is no test, but it takes the laboratory of the console's tests. */
export default defineConfig({
  ssr: { resolve: { conditions: ["module", "node"], externalConditions: ["node"] } },
  test: { include: ["test/console/pictures/pictures.ts"], testTimeout: 120_000 },
});
