# Inside the guest: a network namespace "router" with the other ends of the hubs in it.
# DHCP, router advertisements and VLANs come later, from lab.py.
set -eu

hub() {
    # A test may do with fewer of them.
    address=$(grep -lx "52:54:00:00:f0:0$((${1#hub} + 1))" /sys/class/net/*/address) || return 0
    ip link set dev "$(basename "${address%/address}")" netns router name "$1"
    ip -n router -batch - <<COMMANDS
link set dev $1 addrgenmode none
link set dev $1 up
address add $2 dev $1
address add $3 dev $1 nodad
address add fe80::1/64 dev $1 nodad
COMMANDS
}

udevadm settle
ip netns add router
ip netns exec router sysctl -qw net.ipv6.conf.all.forwarding=1
hub hub0 192.0.2.1/24 2001:db8:1::1/64
hub hub1 198.51.100.1/24 2001:db8:2::1/64
hub hub2 203.0.113.1/24 2001:db8:3::1/64
