#!/bin/bash
# elsewhere.sh DIR CMD...: runs CMD beside a host elsewhere: 203.0.113.200, in a network namespace of its own, where the
# servers of elsewhere.py listen and write down in DIR what reached them. With PROXY=yes there is also an HTTP proxy at
# 203.0.113.2, the client's own address; it runs in the lab's cgroup "endpoint", which the test's configuration exempts.
set -e
here=$(dirname "$0")
dir=$1
shift
mkdir -p "$dir"
own=$(readlink /proc/self/ns/net)
unshare --net sleep infinity &
holder=$!
until [ "$(readlink /proc/$holder/ns/net)" != "$own" ]; do sleep 0.01; done
ip link add far0 type veth peer name far0 netns "$holder"
ip link set far0 up
ip route add 203.0.113.200/32 dev far0
nsenter --target "$holder" --net bash -c '
    ip link set lo up
    ip addr add 203.0.113.200/32 dev far0
    ip link set far0 up
    ip route add 203.0.113.2/32 dev far0'
nsenter --target "$holder" --net python3 "$here/elsewhere.py" "$dir" &
pids="$holder $!"
if [ -n "$PROXY" ]; then
    # shellcheck disable=SC2016
    bash -c 'echo $$ > "$0" && exec python3 "$1" "$2"' \
        "/sys/fs/cgroup$([ -d /sys/fs/cgroup/unified ] && echo /unified)$(sed -n 's/^0:://p' /proc/self/cgroup)/../endpoint/cgroup.procs" \
        "$here/proxy.py" "$dir" &
    pids="$pids $!"
    until [ -e "$dir/proxy.ready" ]; do sleep 0.01; done
fi
until [ -e "$dir/ready" ]; do sleep 0.01; done
status=0
"$@" || status=$?
# shellcheck disable=SC2086
kill $pids 2> /dev/null || true
exit $status
