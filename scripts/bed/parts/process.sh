# Waiting for a condition, and ending processes by their number.

# until_true SECONDS COMMAND…: asks again and again, and fails when the time is over.
until_true() {
  local end=$((SECONDS + $1))
  shift
  until "$@" > /dev/null 2>&1; do
    [ $SECONDS -lt $end ] || return 1
    sleep 0.05
  done
}

# gone PID: no such process, or one that nobody has collected yet.
gone() {
  local state
  state=$(sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$1/status" 2> /dev/null) || return 0
  [ -z "$state" ] || [ "$state" = Z ]
}

# end_process PIDFILE: asks it to stop, and makes it after ten seconds.
end_process() {
  local pid
  pid=$(cat "$1" 2> /dev/null) || return 0
  kill -TERM "$pid" 2> /dev/null || true
  until_true 10 gone "$pid" || kill -KILL "$pid" 2> /dev/null || true
  rm -f "$1"
}
