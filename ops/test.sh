#!/bin/sh
# All tests, on a machine that has Node: sets up what is missing first (npm packages, the build, and SIPp, baresip,
# Kamailio, a browser and the servers of ops/servers.sh where they may be installed). Arguments go to vitest:
# `npm test -- test/sip`.
set -eu
cd "$(dirname "$0")/.."
sh ops/prepare.sh

# Real SIP peers and servers. Where they cannot be had, their tests are skipped, and the last lines say so.
wanted=""
# A program, then the packages that bring it where it is missing; Kamailio's modules and nginx's stream by their files.
while read -r program packages; do
  case $program in
    kamailio:*) ls /usr/lib/*/kamailio/modules/"${program#kamailio:}.so" >/dev/null 2>&1 && continue ;;
    nginx:*) ls /usr/lib/nginx/modules/"${program#nginx:}.so" >/dev/null 2>&1 && continue ;;
    *) { command -v "$program" >/dev/null || [ -x "/usr/sbin/$program" ]; } && continue ;;
  esac
  wanted="$wanted $packages"
done <<END
sipp sip-tester
baresip baresip-core
linphonec linphone-cli
kamailio:secsipid kamailio kamailio-secsipid-modules
kamailio:tls kamailio-tls-modules
kamailio:websocket kamailio-websocket-modules
keepalived keepalived
ip iproute2
curl curl
haproxy haproxy
nginx:ngx_stream_module nginx-light libnginx-mod-stream
fail2ban-regex fail2ban
openssl openssl
rtpengine rtpengine-daemon
pebble pebble
certbot certbot
lego lego
caddy caddy
tshark tshark
promtool prometheus
python3 python3
php php-cli
END
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
npx --no-install vitest run --retry=1 --reporter=default --reporter=./test/support/standing-still.ts --reporter=./test/support/closing-lines.ts "$@" </dev/null || tested=$?
[ "$checked" = 0 ] && [ "$tested" = 0 ]
