// Writes the operations into ops/openapi.yaml: `npm run api`. What stands above them in that file is written by hand.
import { readFileSync, writeFileSync } from "node:fs";
import { openApiText } from "../../dist/src/console/describe.js";

const file = new URL("../openapi.yaml", import.meta.url);
writeFileSync(file, openApiText(readFileSync(file, "utf8")));
