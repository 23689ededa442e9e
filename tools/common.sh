# Sourced by the scripts, from the top folder: one line per step for people, the rest into build/logs.

# logged WHAT... -- COMMAND...: prints WHAT, runs COMMAND with its output in a file, and shows the file if it fails.
logged() {
  local what=() started=$SECONDS file
  while [ "$1" != -- ]; do
    what+=("$1")
    shift
  done
  shift
  mkdir -p build/logs
  file=$(mktemp build/logs/step.XXXXXX)
  echo "-- ${what[*]}"
  if ! "$@" > "$file" 2>&1 < /dev/null; then
    tail -n 200 "$file" >&2
    echo "-- failed: ${what[*]} (whole output: $file)" >&2
    return 1
  fi
  rm -f "$file"
  if [ $((SECONDS - started)) -ge 5 ]; then
    echo "   done in $((SECONDS - started)) s"
  fi
}

# phase WHAT COMMAND...: runs it and notes its seconds in the file that CROSSLINK_PHASES names, if it does (.ci/run).
phase() {
  local what=$1 began=$SECONDS code=0
  shift
  "$@" || code=$?
  [ -z "${CROSSLINK_PHASES:-}" ] || printf '%s\t%s\n' "$((SECONDS - began))" "$what" >> "$CROSSLINK_PHASES"
  return "$code"
}

configure_preset() {
  [ -f "build/$1/build.ninja" ] || logged "configuring $1" -- cmake --preset "$1"
}

# build_preset PRESET [TARGET...]: the build's own progress is shown, with how much is done and the seconds so far.
build_preset() {
  local preset=$1
  shift
  configure_preset "$preset"
  echo "-- building $preset"
  NINJA_STATUS='[%p, %f of %t, %e s] ' cmake --build --preset "$preset" ${1:+--target "$@"}
}
