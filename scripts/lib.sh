# What the scripts share. Sourced, not run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Starts the calling script again through sudo when it is not root.
need_root() {
  [ "$(id -u)" = 0 ] && return
  command -v sudo > /dev/null || { echo "${0##*/}: needs root, and there is no sudo" >&2; exit 1; }
  exec sudo --preserve-env=PATH,CARGO_HOME,RUSTUP_HOME,CARGO_TARGET_DIR,DOCKER_HOST,PIPEWORK_ORIGINAL,PIPEWORK_TEST_STRICT "$0" "$@"
}

say() { printf '\n== %4d s: %s\n' "$SECONDS" "$*"; }

# Installs the Debian packages that are not there. Fails with apt's last words.
install_packages() (
  missing=()
  for package in "$@"; do
    dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q '^install ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || exit 0
  echo "${0##*/}: installing ${missing[*]}"
  # a package must not start its daemon here: the tests start their own
  policy=/usr/sbin/policy-rc.d made= log=$(mktemp)
  trap '[ -z "$made" ] || rm -f $policy; rm -f "$log"' EXIT
  if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' > $policy
    chmod +x $policy
    made=1
  fi
  export DEBIAN_FRONTEND=noninteractive
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}"; } > "$log" 2>&1 || {
    tail -n 20 "$log" >&2
    exit 1
  }
)
