#!/bin/sh
# What a fresh clone needs before it runs: the npm packages of the lock file, and the build in dist/.
# Quick when nothing changed since.
set -eu
cd "$(dirname "$0")/.."

node -e '
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major < 20 || (major === 20 && minor < 19)) {
    console.error(`Tollgate needs Node 20.19 or later; this is ${process.versions.node}`);
    process.exit(1);
  }'

# npm writes this file when an installation is complete. If node_modules is a link (in a second working tree), the
# packages belong to another folder, and npm ci would empty that folder.
installed=node_modules/.package-lock.json
if [ -L node_modules ] && [ -e "$installed" ]; then
  :
elif [ ! -e "$installed" ] || [ package-lock.json -nt "$installed" ]; then
  npm ci --include=dev --no-audit --no-fund
  touch "$installed"
fi
npm run --silent build
