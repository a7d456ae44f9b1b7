#!/bin/sh
# What keepalived calls (ops/cluster/keepalived.conf); installed as /etc/keepalived/tollgate-address.sh.
#
#   address.sh check SOCKET                     0 where the relay with this control socket is alive
#   address.sh INSTANCE|GROUP NAME STATE PRIO   what keepalived tells: a line in the log for each address that comes or goes
set -u

if [ "${1:-}" = check ]; then
  # By the socket: no port has to be open, and neither NATS nor MongoDB is asked. A relay that is stopped is not alive.
  exec curl --silent --fail --max-time 1 --output /dev/null --unix-socket "$2" http://localhost/livez
fi

case "${3:-}" in
  MASTER) what="the address of $2 is at this machine now" ;;
  BACKUP) what="the address of $2 is at another machine" ;;
  FAULT) what="the relay is not alive here: the address of $2 goes to another machine" ;;
  *) what="$2: ${3:-}" ;;
esac
logger --tag tollgate-address --priority daemon.notice -- "$what" 2>/dev/null
echo "$what"
