# Real servers for the tests, found or installed: one function for each. ops/test.sh sources this file, in the
# repository's folder.
# If a server cannot be had, its tests are skipped; the last lines of the output say so.

# Debian packages, by root or a sudo that asks for no password; fails where that cannot be done. Other distributions
# lack some: what apt does not know is left out.
install_packages() {
  command -v apt-get >/dev/null || return 1
  as_root=""
  [ "$(id -u)" = 0 ] || as_root="sudo -n"
  [ -z "$as_root" ] || $as_root true 2>/dev/null || return 1
  # Another apt-get, such as a fresh machine's own upgrade, is waited for: else each test that takes a package is
  # skipped. Where the lists cannot be brought up to date, those that are there may do.
  lock_wait="-o DPkg::Lock::Timeout=300"
  # shellcheck disable=SC2086
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get $lock_wait update -qq </dev/null >apt.log 2>&1 || tail -n 5 apt.log
  known_packages=""
  for package in "$@"; do
    if apt-cache show "$package" >/dev/null 2>&1; then known_packages="$known_packages $package"; else echo "apt has no $package"; fi
  done
  [ -n "$known_packages" ] || return 1
  # shellcheck disable=SC2086
  $as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get $lock_wait install -y -qq --no-install-recommends $known_packages \
    </dev/null >apt.log 2>&1 || { tail -n 5 apt.log; return 1; }
}

# NATS: NATS_URL, else nats-server on the PATH or in .cache/bin, else from Debian, else built by Go.
prepare_nats() {
  if [ -n "${NATS_URL:-}" ]; then
    echo "NATS: the server of NATS_URL"
    return
  fi
  PATH="$PATH:/usr/sbin:/usr/local/sbin"
  nats_is_new_enough || install_packages nats-server || true
  if ! nats_is_new_enough && command -v go >/dev/null; then
    echo "NATS: building nats-server with Go, about a minute"
    GOBIN="$PWD/.cache/bin" GOFLAGS=-mod=mod go install github.com/nats-io/nats-server/v2@v2.12.1 >go.log 2>&1 || tail -n 5 go.log
  fi
  if nats_is_new_enough; then
    echo "NATS: $nats_program $nats_version"
  else
    echo "NATS: neither NATS_URL nor a nats-server of 2.9 or later, and neither apt-get nor go could install one: its tests will be skipped."
  fi
}

# Sets nats_program and nats_version; true from 2.9 on.
nats_is_new_enough() {
  nats_program=".cache/bin/nats-server"
  [ -x "$nats_program" ] || nats_program="$(command -v nats-server)" || return 1
  nats_version="$("$nats_program" --version | sed 's/.* v//')"
  nats_minor="${nats_version#*.}"
  [ "${nats_version%%.*}" -gt 2 ] || [ "${nats_minor%%.*}" -ge 9 ]
}

# MongoDB: MONGODB_URL, else mongod on the PATH, else the stand-in of ops/mongo-stand-in, which needs Java, and Maven to
# fetch its libraries.
prepare_mongo() {
  if [ -n "${MONGODB_URL:-}" ]; then
    echo "MongoDB: the server of MONGODB_URL"
    return
  fi
  if command -v mongod >/dev/null; then
    echo "MongoDB: $(command -v mongod)"
    return
  fi
  mongo_missing=""
  command -v java >/dev/null || mongo_missing="default-jre-headless"
  [ -d .cache/mongo-stand-in/lib ] || command -v mvn >/dev/null || mongo_missing="$mongo_missing maven"
  # shellcheck disable=SC2086
  [ -z "$mongo_missing" ] || install_packages $mongo_missing || true
  if command -v java >/dev/null && mongo_libraries; then
    echo "MongoDB: the stand-in of ops/mongo-stand-in (no mongod here, and MONGODB_URL is not set)"
  else
    echo "MongoDB: neither MONGODB_URL nor mongod, and the stand-in takes Java and Maven, which could not be installed or used: its tests will be skipped."
  fi
}

# The stand-in's libraries, in .cache. They go into another folder first, so that an interrupted download is not taken
# for a complete one.
mongo_libraries() {
  mongo_cache=.cache/mongo-stand-in
  [ -d "$mongo_cache/lib" ] && [ ! ops/mongo-stand-in/pom.xml -nt "$mongo_cache/lib" ] && return
  mkdir -p "$mongo_cache"
  rm -rf "$mongo_cache/new"
  mvn -q -B -f ops/mongo-stand-in/pom.xml dependency:copy-dependencies -DincludeScope=runtime \
    -DoutputDirectory="$PWD/$mongo_cache/new" </dev/null >"$mongo_cache/mvn.log" 2>&1 ||
    { tail -n 5 "$mongo_cache/mvn.log"; return 1; }
  rm -rf "$mongo_cache/lib"
  mv "$mongo_cache/new" "$mongo_cache/lib"
  touch "$mongo_cache/lib"
}

# A browser for the tests of the console's page: Debian's chromium-headless-shell, which has no window and is smaller
# than chromium, or chromium.
prepare_browser() {
  browser_there || install_packages chromium-headless-shell || install_packages chromium || true
  browser_there || echo "Chromium: none, and apt-get could not install it: the tests of the console in a browser will be skipped."
}

browser_there() {
  command -v chromium-headless-shell >/dev/null || command -v chromium >/dev/null
}
