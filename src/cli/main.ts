#!/usr/bin/env -S node --min-semi-space-size=32 --max-semi-space-size=64 --heap-growing-percent=100
import { endWithReader } from "./io.ts";
import { run } from "./program.ts";

endWithReader(process.argv.includes("start"));
process.exitCode = await run(process.argv.slice(2));
