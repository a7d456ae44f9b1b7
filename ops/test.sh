#!/bin/sh
# All tests, on a machine that has Node: sets up what is missing first (npm packages, the build, and SIPp, baresip and
# Kamailio from Debian where they may be installed). Arguments go to vitest: `npm test -- test/sip`.
set -eu
cd "$(dirname "$0")/.."
sh ops/prepare.sh

# Real SIP peers. Where they cannot be had, their tests are skipped, and the last lines say so.
wanted=""
command -v sipp >/dev/null || wanted="$wanted sip-tester"
command -v baresip >/dev/null || wanted="$wanted baresip-core"
ls /usr/lib/*/kamailio/modules/secsipid.so >/dev/null 2>&1 || wanted="$wanted kamailio kamailio-secsipid-modules"
if [ -n "$wanted" ]; then
  if ! command -v apt-get >/dev/null; then
    echo "No apt-get here: tests that need$wanted will be skipped."
  else
    as_root=""
    [ "$(id -u)" = 0 ] || as_root="sudo -n"
    if [ -n "$as_root" ] && ! $as_root true 2>/dev/null; then
      echo "Neither root nor sudo without a password: tests that need$wanted will be skipped."
    else
      echo "Installing$wanted"
      # shellcheck disable=SC2086
      { $as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq &&
        $as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends $wanted; } \
        </dev/null >apt.log 2>&1 || { tail -n 5 apt.log; echo "Installing$wanted failed: their tests will be skipped."; }
    fi
  fi
fi

checked=0
CLOSING_NOTE=""
npm run --silent check || {
  checked=$?
  CLOSING_NOTE="The type check or the linter failed: its findings stand before the tests."
}
export CLOSING_NOTE
tested=0
npx --no-install vitest run --reporter=default --reporter=./test/support/closing-lines.ts "$@" </dev/null || tested=$?
[ "$checked" = 0 ] && [ "$tested" = 0 ]
