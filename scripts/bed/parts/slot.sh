# Several beds may run on one machine, so each takes a slot: a number that its subnets, interfaces, network namespaces
# and control group are named after.
#
# A slot is a locked file. Its descriptor, 9, is inherited by the engine and by all that the engine starts except what
# runs inside containers, so the kernel says what we need to know: the slot is taken as long as anything of the bed
# lives, and whoever has the file open under that number belongs to the bed. (Whoever only asks for the lock uses 8.)
# What runs inside containers is found by the control group.
# A file that is there, says whose it is and is not locked was left by a bed that crashed: its leftovers are removed.

slots=/run/windflow-bed

# await_turn: nobody else takes, gives back or sweeps a slot until descriptor 6 is closed.
await_turn() {
  exec 6> "$slots.turn"
  flock -w 120 6 || { echo "another bed has been taking or giving back a slot for two minutes" >&2; exec 6>&-; return 1; }
}

# subnet SLOT: the first two numbers of its addresses.
#   .0.0/24 the engine's default bridge    .1.0/24 the cable to a namespace    .64.0/18 overlay networks
#   .128.0/17 the engine's other networks
subnet() { echo "10.$((128 + $1))"; }

# take_slot FOLDER: sets `slot`, and keeps it by the descriptor 9.
take_slot() {
  await_turn || return
  mkdir -p $slots
  for slot in $(seq 1 100); do
    local file=$slots/$slot
    exec 8<> "$file"
    if flock -n 8 && [ "$file" -ef /proc/self/fd/8 ]; then
      [ ! -s "$file" ] || sweep_slot "$slot"
      if addresses_are_free "$slot"; then
        echo "$1" > "$file"
        exec 9<&8 8<&- 6>&-
        return 0
      fi
      rm -f "$file"
    fi
    exec 8<&-
  done
  exec 6>&-
  echo "every one of the hundred slots in $slots is taken" >&2
  return 1
}

addresses_are_free() {
  local net
  net=$(subnet "$1").0.0/16
  [ -z "$(ip -4 route show root "$net"; ip -4 route show match "$net" | grep -v ^default)" ]
}

# members_of SLOT: the processes of the bed, those inside containers last.
members_of() {
  find /proc/[0-9]*/fd/9 -lname "$slots/$1" 2> /dev/null | cut -d/ -f3 || true
  contained_by "$1"
}

# The control group's folders, in every hierarchy there is.
groups_of() { find /sys/fs/cgroup -maxdepth 2 -type d -name "windflow-bed-$1" 2> /dev/null || true; }

contained_by() {
  local group
  for group in $(groups_of "$1"); do
    find "$group" -name cgroup.procs -exec cat {} + 2> /dev/null | grep -vx 0 || true
  done | sort -nu
}

# kill_members SLOT: until nothing of the bed lives. What is asked to die may just be starting another.
kill_members() {
  local end=$((SECONDS + 20)) pid alive
  while alive=$(members_of "$1") && [ -n "$alive" ]; do
    [ $SECONDS -lt $end ] || { echo "these processes of slot $1 do not end:" $alive >&2; return 1; }
    for pid in $alive; do kill -KILL "$pid" 2> /dev/null || true; done
    sleep 0.02
  done
}

links_of() {
  ip -o link show | sed -n "s/^[0-9]*: \(wf$1[a-z][a-z0-9]*\)[@:].*/\1/p"
  ip -o -4 address show to "$(subnet "$1").0.0/16" | awk '{print $2}'
}

namespaces_of() { find /run/netns -maxdepth 1 -name "wf$1-*" -printf '%f\n' 2> /dev/null || true; }

# sweep_slot SLOT: what no process holds any more, but the kernel keeps: only for who holds the slot's lock.
sweep_slot() {
  local name group
  kill_members "$1"
  for name in $(namespaces_of "$1"); do
    ip netns delete "$name" 2> /dev/null || rm -f "/run/netns/$name"
  done
  for name in $(links_of "$1" | sort -u); do ip link delete "$name" 2> /dev/null || true; done
  close_forwarding "$1"
  for group in $(groups_of "$1"); do
    until_true 5 remove_group "$group"
  done
}

remove_group() { find "$1" -depth -type d -exec rmdir {} + && [ ! -e "$1" ]; }

# An engine wants the kernel to forward, and warns at each container when it does not. Where another engine has forbidden it
# by the firewall, containers on one of our bridges could not reach each other.
open_forwarding() {
  local switch=/proc/sys/net/ipv4/ip_forward
  [ "$(cat $switch)" = 1 ] || { echo 1 > $switch && touch $slots/forwarding-was-off; }
  [ "$(iptables -S FORWARD 2> /dev/null | head -1)" != '-P FORWARD DROP' ] || iptables -I FORWARD $(forwarding "$1")
}

close_forwarding() {
  while iptables -D FORWARD $(forwarding "$1") 2> /dev/null; do :; done
}

forwarding() {
  local net
  net=$(subnet "$1").0.0/16
  echo "-s $net -d $net -m comment --comment windflow-bed-$1 -j ACCEPT"
}

# is_of_another SLOT FOLDER: what a bed that was killed has left may have been taken away, and its slot taken, since.
is_of_another() { [ -s "$slots/$1" ] && [ "$(cat "$slots/$1")" != "$(realpath -m "$2")" ]; }

# give_back_slot SLOT FOLDER: ends everything that belongs to the bed in this folder.
give_back_slot() {
  local file=$slots/$1
  await_turn || return
  if is_of_another "$1" "$2"; then
    exec 6>&-
    return
  fi
  kill_members "$1" || { exec 6>&-; return 1; }
  mkdir -p "$slots"
  exec 8<> "$file"
  flock -w 10 8 || { echo "slot $1 is still held" >&2; exec 6>&-; return 1; }
  sweep_slot "$1"
  rm -f "$file"
  exec 8<&-
  # The last bed of the machine puts back what the first has changed.
  if [ "$(ls $slots)" = forwarding-was-off ]; then
    echo 0 > /proc/sys/net/ipv4/ip_forward
    rm -f $slots/forwarding-was-off
  fi
  rmdir $slots 2> /dev/null || true
  exec 6>&-
}

# left_of SLOT FOLDER: what should not be there after it was given back, one line each.
left_of() {
  ! is_of_another "$1" "$2" || return 0
  members_of "$1" | sed 's/^/process /'
  links_of "$1" | sed 's/^/interface /'
  namespaces_of "$1" | sed 's/^/namespace /'
  groups_of "$1" | sed 's/^/control group /'
  [ ! -e "$slots/$1" ] || echo "file $slots/$1"
}
