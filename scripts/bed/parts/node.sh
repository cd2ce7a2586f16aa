# An engine in a network namespace, as a node of a Swarm: it has an address of its own on a cable to the machine, firewall
# rules of its own, and the ports 2377, 7946 and 4789 for itself. No two Swarms fit into one namespace.

# node_address NUMBER
node_address() { echo "$(subnet "$slot").1.2$1"; }

# The machine's own address on the cable: where nodes reach what listens on the machine.
machine_address() { echo "$(subnet "$slot").1.1"; }

# plug NUMBER NAMESPACE: makes the node's namespace, with its cable's other end, `vNUMBER`, in NAMESPACE or (-) on the machine.
plug() {
  local ns=wf$slot-$1 other=wf${slot}v$1
  ip netns add "$ns"
  ip link add "$other" type veth peer name eth0 netns "$ns"
  [ "$2" = - ] || ip link set "$other" netns "$2"
  ip -n "$ns" link set lo up
  ip -n "$ns" address add "$(node_address "$1")/24" dev eth0
  ip -n "$ns" link set eth0 up
  ip -n "$ns" route add default via "$(machine_address)"
}

# start_node FOLDER NUMBER
start_node() {
  start_engine "$1" "/run/netns/wf$slot-$2" "node$2" --bip "$(subnet "$slot").0.1/24" \
    --default-address-pool "base=$(subnet "$slot").128.0/17,size=24"
}

# first_manager FOLDER: a Swarm begins.
first_manager() {
  docker_at "$1" swarm init --advertise-addr "$(node_address 1)" --default-addr-pool "$(subnet "$slot").64.0/18" \
    --default-addr-pool-mask-length 24 > /dev/null
}
