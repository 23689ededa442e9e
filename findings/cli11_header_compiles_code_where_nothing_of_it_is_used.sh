#!/usr/bin/env bash
# CLI11 2.1.2 (Debian 12: libcli11-dev 2.1.2+ds-1), g++ 12.2, -O2.
#
# A good guess: a header-only library costs its parsing, so a precompiled header takes its cost away. Seen: a source of one
# line that includes CLI/CLI.hpp and uses nothing of it becomes an object with about 100 kB of code and constants, and
# two initializers that run at start. The header defines its validators as constants at namespace scope, not inline: every file that
# includes it constructs its own, with all that their constructors instantiate. From a precompiled header that is compiled
# all the same, file by file; here the whole compilation of such a source took 4.4 s of CPU against 0.4 s with Boost.JSON
# precompiled. So a program includes CLI11 in one file.
#
# Fails if that changes: if the object is small, or has no initializer, with or without a precompiled header.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

apt-get -qq -o APT::Sandbox::User=root download libcli11-dev=2.1.2+ds-1
dpkg-deb -x libcli11-dev_*.deb .
compile=(g++ -std=c++20 -O2 -isystem usr/include)
echo "$(g++ --version | head -n 1); CLI11 $(sed -n 's/#define CLI11_VERSION "\(.*\)"/\1/p' usr/include/CLI/Version.hpp)"

echo 'int used_by_nobody;' > empty.cpp
echo '#include <CLI/CLI.hpp>' > header.hpp
cat header.hpp empty.cpp > including.cpp
"${compile[@]}" -c empty.cpp -o empty.o
"${compile[@]}" -c including.cpp -o including.o
"${compile[@]}" -x c++-header header.hpp -o header.hpp.gch
"${compile[@]}" -Winvalid-pch -Werror -include header.hpp -c empty.cpp -o precompiled.o

code_bytes() { size "$1" | awk 'NR == 2 { print $1 }'; }
initializers() { nm "$1" | grep -c _GLOBAL__sub_I_ || true; }
for object in empty including precompiled; do
  echo "$object: $(code_bytes $object.o) bytes of code and constants, $(initializers $object.o) initializers"
done
[ "$(code_bytes empty.o)" -lt 1000 ] && [ "$(initializers empty.o)" = 0 ]
for object in including precompiled; do
  [ "$(code_bytes $object.o)" -gt 90000 ] && [ "$(initializers $object.o)" = 2 ]
done
