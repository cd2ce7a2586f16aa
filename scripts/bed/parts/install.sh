# What the bed runs on comes from Debian's archive. Root gets what is missing; everybody else is told what to install.

# need PACKAGE PROGRAM: the program (a name, or a path) is there afterwards.
need() {
  local package=$1 program=$2
  ! type -P "$program" > /dev/null || return 0
  if [ "$(id -u)" != 0 ] || ! type -P apt-get > /dev/null; then
    echo "'$program' is needed (Debian: apt-get install $package)" >&2
    return 69
  fi
  # Another bed may need the same at this moment.
  (
    flock -w 600 8 || { echo "another bed has been installing for ten minutes" >&2; exit 69; }
    type -P "$program" > /dev/null || install_quietly "$package" >&2 8>&-
  ) 8> /run/windflow-bed.lock
}

# Debian starts the service of a package that it installs. Nothing may run here that the bed did not start, so starting
# is forbidden for as long as the installation takes.
install_quietly() {
  local refusal=/usr/sbin/policy-rc.d ours=no code=0
  [ -e $refusal ] || { printf '#!/bin/sh\nexit 101\n' > $refusal && chmod 755 $refusal && ours=yes; }
  local apt=(apt-get -q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)
  export DEBIAN_FRONTEND=noninteractive
  "${apt[@]}" install -y --no-install-recommends "$@" 9>&- \
    || { "${apt[@]}" update 9>&- && "${apt[@]}" install -y --no-install-recommends "$@" 9>&-; } || code=$?
  [ $ours = no ] || rm -f $refusal
  return $code
}

need_root() {
  [ "$(id -u)" = 0 ] || { echo "${0##*/} starts an engine and makes network interfaces: run it as root" >&2; exit 77; }
}
