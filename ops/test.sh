#!/bin/sh
# All tests, on a machine that has Node: sets up what is missing first (npm packages, the build, and SIPp, baresip,
# Kamailio, a browser and the servers of ops/servers.sh where they may be installed). Arguments go to vitest:
# `npm test -- test/sip`.
set -eu
cd "$(dirname "$0")/.."
sh ops/prepare.sh

# Real SIP peers and servers. Where they cannot be had, their tests are skipped, and the last lines say so.
wanted=""
command -v sipp >/dev/null || wanted="$wanted sip-tester"
command -v baresip >/dev/null || wanted="$wanted baresip-core"
command -v linphonec >/dev/null || wanted="$wanted linphone-cli"
ls /usr/lib/*/kamailio/modules/secsipid.so >/dev/null 2>&1 || wanted="$wanted kamailio kamailio-secsipid-modules"
command -v keepalived >/dev/null || [ -x /usr/sbin/keepalived ] || wanted="$wanted keepalived iproute2 curl"
command -v haproxy >/dev/null || [ -x /usr/sbin/haproxy ] || wanted="$wanted haproxy"
ls /usr/lib/nginx/modules/ngx_stream_module.so >/dev/null 2>&1 || wanted="$wanted nginx-light libnginx-mod-stream"
command -v fail2ban-regex >/dev/null || wanted="$wanted fail2ban"
. ops/servers.sh
if [ -n "$wanted" ]; then
  echo "Installing$wanted"
  # shellcheck disable=SC2086
  install_packages $wanted || echo "Installing$wanted failed (it takes apt-get, and root or sudo without a password): their tests will be skipped."
fi
prepare_nats
prepare_mongo
prepare_browser

checked=0
CLOSING_NOTE=""
npm run --silent check || {
  checked=$?
  CLOSING_NOTE="The type check or the linter failed: its findings stand before the tests."
}
export CLOSING_NOTE
tested=0
# A test with real processes may fail on a machine that stands still for seconds. It is tried once more, and named.
# What takes minutes because it kills processes under load is left out, unless it is asked for (npm run test:slow).
slow="test/chaos test/faults test/soak test/app-servers/kill.test.ts test/peers/bad-network.test.ts"
if [ "${1:-}" = --slow ]; then
  shift
  # shellcheck disable=SC2086
  set -- $slow "$@"
elif [ $# -eq 0 ]; then
  for path in $slow; do set -- "$@" --exclude "$path" --exclude "$path/**"; done
fi
npx --no-install vitest run --retry=1 --reporter=default --reporter=./test/support/closing-lines.ts "$@" </dev/null || tested=$?
[ "$checked" = 0 ] && [ "$tested" = 0 ]
