import { defineConfig } from "vitest/config";
import root from "../../../vitest.config.ts";

/* `npm run pictures`: this is no test, but it takes the laboratory of the console's tests. */
export default defineConfig({
  ssr: root.ssr,
  test: { include: ["test/console/pictures/pictures.ts"], testTimeout: 120_000 },
});
