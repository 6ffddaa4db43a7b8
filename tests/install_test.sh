#!/usr/bin/env bash
# Installs a build into a folder of its own, and builds and runs tests/examples against what lies there; then against
# the tree itself, as FetchContent takes it.
# usage: install_test.sh BUILD_DIR SOURCE_DIR CXX
set -euo pipefail
build=$1 source=$2 compiler=$3
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

cmake --install "$build" --prefix "$folder/prefix" >"$folder/log" || { cat "$folder/log"; exit 1; }
"$folder/prefix/bin/wavetape" --version
# Nothing that was installed may point back at the tree it was built from.
if grep -rlF "$source" "$folder/prefix/lib"*/cmake; then
  echo "install_test: these name the source tree" >&2
  exit 1
fi
cmake -S "$source/tests/examples" -B "$folder/build" -G Ninja -DCMAKE_PREFIX_PATH="$folder/prefix" \
  -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_BUILD_TYPE=Release
cmake --build "$folder/build"

"$folder/build/own_op"
"$folder/build/own_mixer"
# The same from the tree; one program of them, since this compiles what it stands on again.
cmake -S "$source/tests/examples" -B "$folder/fetched" -G Ninja -DWAVETAPE_SOURCE="$source" \
  -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_BUILD_TYPE=Release -DWAVETAPE_WERROR=ON >"$folder/log" || { cat "$folder/log"; exit 1; }
cmake --build "$folder/fetched" --target own_op >"$folder/log" || { cat "$folder/log"; exit 1; }
"$folder/fetched/own_op"
for _ in $(seq 200); do echo "It was the best of times, it was the worst of times."; done >"$folder/text"
"$folder/build/train_text" "$folder/text" 60 | tee "$folder/losses"
awk '/^step 0 / { first = $4 } /^step 59 / { last = $4 }
     END { if (!(last > 0 && last < first / 2)) { print "install_test: the loss did not fall to half"; exit 1 } }' \
  "$folder/losses"
