#!/usr/bin/env bash
# Check all files that git knows or would take, with the tools of .venv; goes through all of them
# before it fails. With --fix, formats them instead.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
export PATH="$PWD/.venv/bin:$PATH"

fix=no
[ "${1:-}" = --fix ] && fix=yes

# Files (zero-separated) that match the patterns, without third_party/ and deleted ones.
list() {
  git -c safe.directory="$PWD" ls-files -z --cached --others --exclude-standard -- "$@" \
    ':!third_party' | while IFS= read -r -d '' file; do
    [ -f "$file" ] && printf '%s\0' "$file"
  done | sort -zu
}

failed=()
check() {
  local name=$1
  shift
  echo "== $name"
  "$@" || failed+=("$name")
}

# `each "PATTERN PATTERN" COMMAND...`: run COMMAND on all matching files, if there are any.
each() {
  local -a patterns
  read -ra patterns <<<"$1"
  shift
  list "${patterns[@]}" | xargs -0r "$@"
}

cpp='*.cpp *.hpp *.h *.cu *.cuh'
cmake='CMakeLists.txt */CMakeLists.txt *.cmake'
python='*.py'

if [ "$fix" = yes ]; then
  each "$cpp" clang-format -i
  each "$python" ruff check --quiet --fix
  each "$python" ruff format
  each "$cmake" gersemi --in-place
  exit
fi

if ! git -c safe.directory="$PWD" rev-parse --git-dir >/dev/null; then
  echo "make lint asks git for the files to check, and this is no git working tree" >&2
  exit 1
fi
check clang-format each "$cpp" clang-format --dry-run -Werror
check "ruff check" each "$python" ruff check
check "ruff format" each "$python" ruff format --check
check mypy mypy python/jaxmg
check codespell each '*' codespell
check gersemi each "$cmake" gersemi --check
check layers python scripts/check_layers.py

if [ ${#failed[@]} -gt 0 ]; then
  echo "failed: ${failed[*]}" >&2
  exit 1
fi
echo "lint: all good"
