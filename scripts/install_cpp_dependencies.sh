#!/usr/bin/env bash
# The libraries of the C++ tests and the tester, from the system's packages. Looks for the headers,
# so any other way to install them is as good; what is missing is installed if we are root.
set -euo pipefail

declare -A header_of=(
  [libgtest-dev]=gtest/gtest.h
  [libcli11-dev]=CLI/CLI.hpp
  [nlohmann-json3-dev]=nlohmann/json.hpp
)

missing=()
for package in libgtest-dev libcli11-dev nlohmann-json3-dev; do
  if ! echo "#include <${header_of[$package]}>" | ${CXX:-g++} -x c++ -std=c++20 -M - >/dev/null 2>&1; then
    missing+=("$package")
  fi
done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
  echo "The C++ tests and the tester need:  sudo apt-get install ${missing[*]}" >&2
  exit 2
fi
export DEBIAN_FRONTEND=noninteractive
install=(apt-get install --yes --quiet --no-install-recommends "${missing[@]}")
echo "+ ${install[*]}"
# A fresh system has no package lists yet.
"${install[@]}" </dev/null || { apt-get update --quiet </dev/null && "${install[@]}" </dev/null; }
