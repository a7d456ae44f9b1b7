#!/usr/bin/env -S node --min-semi-space-size=32 --max-semi-space-size=64
import { run } from "./program.ts";

process.exitCode = await run(process.argv.slice(2));
