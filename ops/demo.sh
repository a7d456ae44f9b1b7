#!/bin/sh
# `npm run demo`: what the demo needs, then the demo; with --cluster the servers too, found or installed.
set -eu
cd "$(dirname "$0")/.."
sh ops/prepare.sh >&2
case " $* " in
*" --cluster "*)
  . ops/servers.sh
  { prepare_nats && prepare_mongo; } >&2
  ;;
esac
exec node dist/src/cli/main.js demo "$@"
