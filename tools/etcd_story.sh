# Sourced by ./run --engine etcd: two etcd clusters of three members each on loopback, a mirror between them through two
# crosslink nodes. A member of the source is killed and the line between the nodes is cut on the way. $story is the
# folder of the tools, $stay says whether to stay up at the end.
source "$story/story.sh"
client="python3 $story/etcd_client.py"
members=3
declare -A endpoints client_ports peer_ports

start_member() {
  local cluster=$1 member=$2 peers='' i
  local -a own_client own_peer
  read -r -a own_client <<< "${client_ports[$cluster]}"
  read -r -a own_peer <<< "${peer_ports[$cluster]}"
  for ((i = 0; i < members; i++)); do peers+="${peers:+,}m$i=http://127.0.0.1:${own_peer[$i]}"; done
  etcd --name "m$member" --data-dir "etcd-$cluster-$member" --logger zap --log-level error \
    --listen-client-urls "http://127.0.0.1:${own_client[$member]}" --advertise-client-urls "http://127.0.0.1:${own_client[$member]}" \
    --listen-peer-urls "http://127.0.0.1:${own_peer[$member]}" --initial-advertise-peer-urls "http://127.0.0.1:${own_peer[$member]}" \
    --initial-cluster "$peers" --initial-cluster-token "$cluster-$$" >> "etcd-$cluster-$member.log" 2>&1 &
  process[$cluster-m$member]=$!
}

start_cluster() {
  local cluster=$1 all list='' i
  read -r -a all <<< "$($client ports $((2 * members)))"
  client_ports[$cluster]="${all[*]:0:members}"
  peer_ports[$cluster]="${all[*]:members:members}"
  for ((i = 0; i < members; i++)); do
    list+="${list:+,}http://127.0.0.1:${all[$i]}"
    start_member "$cluster" "$i"
  done
  endpoints[$cluster]=$list
  await 60 "the etcd cluster of $cluster" timeout 2 $client leader "$list"
  echo "etcd of $cluster: $list"
}
applied() {
  crosslink status registry -o json --config eu-standby/node.toml |
    python3 -c 'import json,sys; print(json.load(sys.stdin)["mirrors"][0]["applied_lsn"])'
}
applied_above() { [ "$(applied)" -gt "$1" ]; }

say "Two etcd clusters of three members each, as $(etcd --version | head -n 1) brings them: nothing of crosslink in them."
start_cluster prod-us
start_cluster eu-standby

certificates

say "One node beside each. At prod-us the config names the etcd database; the standby's node has none yet."
tables[prod-us]="[[database]]
name = \"registry\"
engine = \"etcd\"
endpoints = [\"${endpoints[prod-us]//,/\", \"}\"]
prefix = \"/registry/\""
write_config prod-us
write_config eu-standby
start_node prod-us
start_node eu-standby

say "This machine's package list, a key for each package below /registry/packages/, written to prod-us as etcd's users do."
$client load "${endpoints[prod-us]}" /registry/packages/

say "eu-standby mirrors it into its own etcd. The line between the nodes goes through a relay, which can be cut."
python3 "$story/relay.py" "${mirrors[prod-us]}" > relay.out &
process[relay]=$!
await 10 "the relay" grep -q : relay.out
began=$(date +%s.%N)
show mirror create registry --from prod-us/registry --addr "$(cat relay.out)" --into etcd \
  --endpoints "${endpoints[eu-standby]}" --config eu-standby/node.toml --wait
echo "Following $(seconds_since "$began") s after the command"
$client compare "${endpoints[prod-us]}" "${endpoints[eu-standby]}" /registry/

say "A writer keeps changing keys at prod-us. The leader of its etcd is killed with SIGKILL."
writer_end=$folder/writer.end
$client write "${endpoints[prod-us]}" /registry/changes/ "$writer_end" > writer.count &
process[writer]=$!
before=$(applied)
await 30 "the first changes" applied_above $((before + 20))
leader=$($client leader "${endpoints[prod-us]}")
end_process "prod-us-m$leader" KILL
began=$(date +%s.%N)
await 60 "a new leader" timeout 2 $client leader "${endpoints[prod-us]}"
before=$(applied)
await 60 "changes after it" applied_above $((before + 20))
echo "member m$leader is gone; changes of the new leader's time are at eu-standby $(seconds_since "$began") s later"

say "The line between the nodes is cut, and the killed member comes back meanwhile."
kill -USR1 "${process[relay]}"
start_member prod-us "$leader"
await 60 "eu-standby to notice" sh -c "crosslink status registry --config eu-standby/node.toml | grep -q Disconnected"
show status --config eu-standby/node.toml || echo "(exit code $?: disconnected)"
kill -USR2 "${process[relay]}"
began=$(date +%s.%N)
following eu-standby registry
snapshots=$(crosslink status -o json --config eu-standby/node.toml | python3 -c 'import json,sys; print(json.load(sys.stdin)["mirrors"][0]["bootstraps"])')
echo "Following again $(seconds_since "$began") s after the line was there again; snapshots in all: $snapshots"
touch "$writer_end"
wait "${process[writer]}"
unset "process[writer]"
cat writer.count

say "Are both the same? Compared by crosslink at one revision, every key; and by reading both clusters without it."
head=$(crosslink db list -o json --config prod-us/node.toml | python3 -c 'import json,sys; print(json.load(sys.stdin)["databases"][0]["head_lsn"])')
await 60 "the last change" applied_above $((head - 1))
show verify registry --config eu-standby/node.toml
$client compare "${endpoints[prod-us]}" "${endpoints[eu-standby]}" /registry/
show status registry --config eu-standby/node.toml
[ "$snapshots" = 1 ] || { echo "./run: the mirror took $snapshots snapshots where one was enough" >&2; exit 1; }

say "Done. docs/etcd.md says how to put it beside a cluster of your own."
[ "$stay" = yes ] || exit 0
cat << HERE
All stays up until Ctrl-C. In another terminal, for instance:
  ETCDCTL_API=3 etcdctl --endpoints ${endpoints[prod-us]} put /registry/key value
  ETCDCTL_API=3 etcdctl --endpoints ${endpoints[eu-standby]} get /registry/key
  $(command -v crosslink) status --watch --config $folder/eu-standby/node.toml
HERE
wait "${process[prod-us]}" "${process[eu-standby]}"
