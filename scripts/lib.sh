# What the scripts share. Sourced, not run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Starts the calling script again through sudo when it is not root.
need_root() {
  [ "$(id -u)" = 0 ] && return
  command -v sudo > /dev/null || { echo "${0##*/}: needs root, and there is no sudo" >&2; exit 1; }
  exec sudo --preserve-env=PATH,CARGO_HOME,RUSTUP_HOME,CARGO_TARGET_DIR,DOCKER_HOST,PIPEWORK_ORIGINAL,PIPEWORK_TEST_STRICT "$0" "$@"
}

say() { printf '\n== %s\n' "$*"; }
