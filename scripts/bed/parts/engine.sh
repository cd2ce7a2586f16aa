# One dockerd in a folder: `pid`, `log`, `docker.sock`, `slot`, and its data. It shares nothing with another engine on the
# machine but the kernel.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
root=$(cd "$here/../.." && pwd)
for part in install process slot; do . "$here/parts/$part.sh"; done
beds=${WINDFLOW_BED:-$root/target/bed}

# The longest socket that an engine makes below its folder is 38 characters; a socket's path may have 107.
longest_folder=69

# folder_of NAME [FOLDER]
folder_of() {
  local folder
  folder=$(realpath -m "${2:-$beds/$1}")
  if [ ${#folder} -gt $longest_folder ]; then
    echo "$folder: has ${#folder} characters, and sockets below it allow $longest_folder (name a shorter one with WINDFLOW_BED)" >&2
    return 64
  fi
  case $folder in /run | /run/*) echo "$folder: the engine has a /run of its own, choose another folder" >&2; return 64 ;; esac
  echo "$folder"
}

# docker_at FOLDER WORD…: the client, deaf to how the caller has set up theirs. Nothing is ever asked of a public registry.
docker_at() {
  local folder=$1
  shift
  env -u DOCKER_CONTEXT -u DOCKER_TLS_VERIFY -u DOCKER_CERT_PATH -u DOCKER_API_VERSION \
    DOCKER_CONFIG="$folder/client" DOCKER_HOST="unix://$folder/docker.sock" docker "$@"
}

# bring_up FOLDER: takes a slot, calls `begin` and prints. What answers already is left as it is, and what is left of an engine
# that was killed goes first.
bring_up() {
  local folder=$1
  if [ -e "$folder/slot" ]; then
    ! stands "$folder" || { show; return; }
    take_down "$folder"
  fi
  install_engine
  take_slot "$folder"
  mkdir -p "$folder"
  echo "$slot" > "$folder/slot"
  # In a shell of its own, and outside any condition: only there does the first failing command end it.
  local code=0
  set +e
  (set -e; begin) >&2
  code=$?
  set -e
  if [ $code -ne 0 ]; then
    # Half a bed is worse than none.
    echo "taking down what was begun in $folder" >&2
    exec 9<&-
    cp "$folder"/log "$beds/${folder##*/}-failed.log" 2> /dev/null || true
    take_down "$folder"
    return 1
  fi
  show
}

take_down() {
  [ ! -e "$1/slot" ] || give_back_slot "$(cat "$1/slot")" "$1"
  rm -rf "$1"
}

stands() { answers "$1" > /dev/null 2>&1; }

# bed_command FOLDER WORD: what all of these scripts can do.
bed_command() {
  need_root
  case $2 in
    up) bring_up "$1" ;;
    down) take_down "$1" ;;
    env)
      stands "$1" || { echo "nothing answers in $1" >&2; exit 1; }
      slot=$(cat "$1/slot")
      show
      ;;
    restart)
      stands "$1" || { echo "nothing answers in $1" >&2; exit 1; }
      slot=$(cat "$1/slot")
      exec 9<> "$slots/$slot"
      end_process "$1/pid"
      start
      show
      ;;
    *)
      sed -n '2,/^#$/p;/^[^#]/q' "$0" | sed -n '/^#/s/^# \{0,1\}//p' >&2
      exit 64
      ;;
  esac
}

answers() { [ -S "$1/docker.sock" ] && curl -fsS -m 5 --unix-socket "$1/docker.sock" http://engine/_ping; }

# install_engine: what every engine here needs.
install_engine() {
  need docker.io dockerd
  need docker.io docker
  need iproute2 ip
  need iptables iptables
  need curl curl
}

# start_engine FOLDER NAMESPACE HOSTNAME WORD…: NAMESPACE is a path, or - for the machine's own network; WORDs go to dockerd.
#
# - A mount namespace of its own: what the engine mounts goes when it goes, and never shows on the machine. It has an empty
#   /run, because dockerd would use a containerd that it finds there; and a name server that refuses at once, so that an
#   image which is missing is told within milliseconds and nothing is ever loaded from afar.
# - An empty configuration, or dockerd would read the machine's.
start_engine() {
  local folder=$1 namespace=$2 host=$3 enter=()
  shift 3
  [ "$namespace" = - ] || enter=(nsenter "--net=$namespace")
  mkdir -p "$folder/client"
  echo '{}' > "$folder/daemon.json"
  rm -f "$folder/pid" "$folder/docker.sock"
  FOLDER=$folder BED_HOST=$host setsid "${enter[@]}" unshare --uts --mount sh -ec '
    [ "$BED_HOST" = - ] || hostname "$BED_HOST"
    mount -t tmpfs bed /run
    echo "nameserver 127.0.0.1" > /run/resolv.conf
    mount --bind /run/resolv.conf /etc/resolv.conf
    cd "$FOLDER"
    exec dockerd "$@"' dockerd \
    --config-file "$folder/daemon.json" --data-root "$folder/data" --exec-root "$folder/exec" --pidfile "$folder/pid" \
    --host "unix://$folder/docker.sock" --group "$(id -gn)" --exec-opt native.cgroupdriver=cgroupfs \
    --cgroup-parent "/windflow-bed-$slot" --shutdown-timeout 2 --insecure-registry 10.128.0.0/9 "$@" >> "$folder/log" 2>&1 < /dev/null &
  local started=$!
  if ! until_true 60 answers_or_is_over "$folder" $started || ! answers "$folder" > /dev/null; then
    tail -20 "$folder/log" >&2
    echo "dockerd did not start; its log is $folder/log" >&2
    return 1
  fi
}

answers_or_is_over() { answers "$1" || gone "$2"; }
