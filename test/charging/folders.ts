import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A fresh folder; it goes with the temporary files of the test run. */
export const freshFolder = (): string => mkdtempSync(join(tmpdir(), "tollgate-"));
