#!/usr/bin/env bash
# `check_exports.sh LIBRARY`: fails if a library exports anything but jaxmg_*, or nothing.
set -euo pipefail
exported=$(nm -D --defined-only "$1" | awk '{ print $3 }' | sed 's/@.*//')
echo "$1 exports: $(echo "$exported" | tr '\n' ' ')"
if [ -z "$exported" ] || echo "$exported" | grep -qv '^jaxmg_'; then
  echo "expected jaxmg_* alone" >&2
  exit 1
fi
