#!/usr/bin/env bash
# etcd 3.7.3 (Go module go.etcd.io/etcd/server/v3) beside etcd 3.4.23 (Debian 12: etcd-server 3.4.23-4+b4).
#
# A good guess: a request for progress on a watch stream is answered with the newest revision once the watches of that stream have come
# to it, and a watch that waits for a revision to come has nothing to come to. Seen with 3.7.3: one watch from a future revision, which is
# taken without an error, keeps the answers of the whole stream away until that revision is there; another watch on the same stream goes
# on to get its events, and nothing says how far it has come. 3.4.23 answers. (3.5.35 is as 3.7.3; the answers of the watch proto's
# RequestProgress and of the JSON gateway, which is used here, are the same.) So a client that asks for progress gives each watch a stream
# of its own, and asks for none before the revision is there that it watches from.
#
# Output seen:
#   3.4.23: 2 answers to 2 requests beside a watch from revision 1; 2 with one from revision 1000 on the stream
#   3.7.3: 2 answers to 2 requests beside a watch from revision 1; 0 with one from revision 1000 on the stream
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

apt-get -qq -o APT::Sandbox::User=root download etcd-server=3.4.23-4+b4
dpkg-deb -x etcd-server_*.deb .
mv usr/bin/etcd etcd-3.4.23
mkdir build
(
  cd build
  printf 'module finding\n\ngo 1.23\n' > go.mod
  go get go.etcd.io/etcd/server/v3@v3.7.3
  go build -mod=mod -o ../etcd-3.7.3 go.etcd.io/etcd/server/v3
) > build.log 2>&1 || { tail -n 50 build.log >&2; exit 1; }

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
ask() { curl --silent --fail "$client$1" --data "$2"; }
# WATCH...: how many of two requests for progress are answered on a stream with these watches. Each is asked once what came before is done.
answers() {
  local request
  {
    for request in "$@"; do echo "{\"create_request\": $request}"; done
    for request in 1 2; do
      sleep 1
      echo '{"progress_request": {}}'
    done
    sleep 1
  } | curl --silent --no-buffer --max-time 20 --request POST --upload-file - "$client/v3/watch" > stream || true
  grep -c '"watch_id":"-1"' stream || true
}
look() {  # VERSION
  local peer
  client=http://127.0.0.1:$(free_port)
  peer=http://127.0.0.1:$(free_port)
  "./etcd-$1" --data-dir "data-$1" --listen-client-urls "$client" --advertise-client-urls "$client" \
    --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "default=$peer" > "log-$1" 2>&1 &
  server=$!
  timeout 30 bash -c 'until curl --silent --fail "$1/health" > /dev/null; do sleep 0.1; done' wait "$client"
  ask /v3/kv/put '{"key": "YQ==", "value": "YQ=="}' > put
  alone=$(answers '{"key": "YQ==", "watch_id": 1, "start_revision": 1}')
  beside=$(answers '{"key": "YQ==", "watch_id": 1, "start_revision": 1}' '{"key": "Yg==", "watch_id": 2, "start_revision": 1000}')
  kill "$server"
  wait "$server" || true
  server=''
  echo "$1: $alone answers to 2 requests beside a watch from revision 1; $beside with one from revision 1000 on the stream"
}
look 3.4.23
[ "$alone $beside" = "2 2" ]
look 3.7.3
[ "$alone $beside" = "2 0" ]
