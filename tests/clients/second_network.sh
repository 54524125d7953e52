# Sourced by tests that run in the lab: gives a process's network namespace a way to the model endpoint, through the
# lab's own client namespace.
#
#   second_network PID
second_network() {
    until [ "$(readlink /proc/$1/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.02; done
    ip link add outer$1 type veth peer name inner netns $1
    # Neighbours of the endpoint's network, as it sees them: it need not know of another one.
    echo 1 > /proc/sys/net/ipv4/ip_forward
    for device in lab0 outer$1; do echo 1 > /proc/sys/net/ipv4/conf/$device/proxy_arp; done
    ip link set outer$1 up
    ip route add 203.0.113.77 dev outer$1
    nsenter --target $1 --net sh -c '
        ip link set lo up
        ip address add 203.0.113.77/32 dev inner
        ip link set inner up
        ip route add default dev inner'
}
