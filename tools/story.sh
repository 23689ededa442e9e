# Sourced by ./run and what it calls: nodes in a temporary folder, told as a story. The caller has sourced tools/common.sh.
folder=$(mktemp -d)
declare -A process port admin mirrors tables
clean_up() {
  local one
  for one in "${process[@]}"; do { kill -KILL "$one"; wait "$one"; } 2> /dev/null || true; done
  rm -rf "$folder"
}
trap clean_up EXIT
cd "$folder"

say() { printf '\n== %s\n' "$*"; }
show() {
  echo "\$ crosslink $*"
  crosslink "$@"
}
seconds_since() { awk -v a="$1" -v b="$(date +%s.%N)" 'BEGIN { printf "%.1f", b - a }'; }

# await SECONDS WHAT COMMAND...: returns when the command succeeds.
await() {
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" > /dev/null 2>&1; do
    if [ $SECONDS -ge $deadline ]; then
      cat ./*.log >&2
      echo "./run: gave up waiting for $what" >&2
      exit 1
    fi
    read -r -t 0.05 < <(:) || true
  done
}

# write_config CLUSTER: with tables[CLUSTER] at its end. Ports are picked by the system at the first start and kept from
# then on.
write_config() {
  mkdir -p "$1"
  cat > "$1/node.toml" << TOML
cluster_id = "$1"
data_dir = "data"
[listen]
mirrors = "${mirrors[$1]:-127.0.0.1:0}"
clients = "127.0.0.1:${port[$1]:-0}"
admin = "${admin[$1]:-127.0.0.1:0}"
[tls]
ca = "../certs/ca.pem"
cert = "../certs/$1.pem"
key = "../certs/$1.key"
[database_defaults]
allow_mirrors = ["prod-us", "eu-standby"]
${tables[$1]:-}
TOML
}

start_node() {
  local name=$1 line
  : > "$name.out"
  crosslink serve --config "$name/node.toml" -o json > "$name.out" 2>> "$name.log" &
  process[$name]=$!
  await 30 "the node $name" grep -q admin "$name.out"
  line=$(cat "$name.out")
  mirrors[$name]=$(python3 -c 'import json,sys; print(json.loads(sys.argv[1])["mirrors"])' "$line")
  port[$name]=$(python3 -c 'import json,sys; print(json.loads(sys.argv[1])["clients"].rsplit(":", 1)[1])' "$line")
  admin[$name]=$(python3 -c 'import json,sys; print(json.loads(sys.argv[1])["admin"])' "$line")
  write_config "$name"
  echo "node $name: mirrors at ${mirrors[$name]}, clients at port ${port[$name]}, commands at ${admin[$name]}"
}

# end_process NAME SIGNAL
end_process() {
  { kill "-$2" "${process[$1]}"; wait "${process[$1]}"; } 2> /dev/null || true
  unset "process[$1]"
}
following() { crosslink status "$2" --config "$1/node.toml" --wait following --timeout 60; }
certificates() {
  say "Certificates: an authority, one certificate for each cluster."
  show certs init --dir certs
  show certs issue --dir certs --name prod-us
  show certs issue --dir certs --name eu-standby
}
