#!/usr/bin/env bash
# etcd 3.4.23 (Debian 12: etcd-server, etcd-client 3.4.23-4+b4) beside etcd 3.5.35 (Go module go.etcd.io/etcd/server/v3).
#
# A good guess: a watch that begins at a revision gets every event from there on, or is cancelled with the revision that was
# compacted. etcd's documentation says so, and a watch from an older revision is cancelled. Seen with 3.4.23: a watch that begins at the
# very revision that was compacted is taken, and a delete at that revision is not among its events: no error, the next event comes as if
# nothing had been there. So whoever had read all before that delete, and was away while the compaction landed on it, keeps the key for
# ever. 3.5.35 sends the delete (so do 3.4 from 3.4.36 on, 3.5 from 3.5.18 on and 3.6). A way around it: after each break, a Get at the
# last revision that was read says "compacted" in exactly this case.
#
# Output seen:
#   3.4.23: a watch from revision 4 gets: PUT /c
#   3.4.23: a Get at revision 3 says that it was compacted
#   3.5.35: a watch from revision 4 gets: DELETE /a, PUT /c
#   3.5.35: a Get at revision 3 says that it was compacted
#
# Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
server=''
finish() {
  [ -z "$server" ] || { kill "$server" && wait "$server" || true; }
  chmod -R u+w "$folder"
  rm -rf "$folder"
}
trap finish EXIT
cd "$folder"

apt-get -qq -o APT::Sandbox::User=root download etcd-server=3.4.23-4+b4 etcd-client=3.4.23-4+b4
for package in etcd-*.deb; do dpkg-deb -x "$package" .; done
mv usr/bin/etcd etcd-3.4.23
mv usr/bin/etcdctl etcdctl
mkdir build
(
  cd build
  printf 'module finding\n\ngo 1.23\n' > go.mod
  go get go.etcd.io/etcd/server/v3@v3.5.35
  go build -mod=mod -o ../etcd-3.5.35 go.etcd.io/etcd/server/v3
) > build.log 2>&1 || { tail -n 50 build.log >&2; exit 1; }

export ETCDCTL_API=3
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
begin() {  # VERSION
  local client peer
  client=http://127.0.0.1:$(free_port)
  peer=http://127.0.0.1:$(free_port)
  "./etcd-$1" --data-dir "data-$1" --listen-client-urls "$client" --advertise-client-urls "$client" \
    --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "default=$peer" > "log-$1" 2>&1 &
  server=$!
  export ETCDCTL_ENDPOINTS=$client
  timeout 30 bash -c 'until ./etcdctl endpoint health > /dev/null 2>&1; do sleep 0.1; done'
}
end() {
  kill "$server"
  wait "$server" || true
  server=''
}
events_from() {  # REVISION: up to the put of /c, or none when it is cancelled
  local watch
  ./etcdctl watch --prefix / --rev "$1" > watched 2>&1 &
  watch=$!
  timeout 20 bash -c 'until grep -qx /c watched || ! kill -0 "$1" 2> /dev/null; do sleep 0.1; done' wait "$watch" || true
  kill "$watch" 2> /dev/null || true
  wait "$watch" || true
  awk '/^(PUT|DELETE)$/ { kind = $0; getline; printf "%s%s %s", separator, kind, $0; separator = ", " }' watched
}
look() {  # VERSION
  begin "$1"
  ./etcdctl put /a 1 > put
  ./etcdctl put /b 1 > put
  ./etcdctl del /a > put
  ./etcdctl compaction 4 --physical > put
  ./etcdctl put /c 1 > put
  events=$(events_from 4)
  older=$(./etcdctl get /b --rev 3 2>&1) && older=there || true
  end
  echo "$1: a watch from revision 4 gets: $events"
  case "$older" in
    *"has been compacted"*) echo "$1: a Get at revision 3 says that it was compacted" ;;
    *) echo "$1: a Get at revision 3: $older"; return 1 ;;
  esac
}
look 3.4.23
[ "$events" = "PUT /c" ]
look 3.5.35
[ "$events" = "DELETE /a, PUT /c" ]
