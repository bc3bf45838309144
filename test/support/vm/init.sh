#!/bin/dash
# The first process of a test machine: mounts what every system has, and hands over to Node.
export PATH=/usr/sbin:/usr/bin:/usr/lib/busybox HOME=/root
# the second Node of a scenario starts in half the time
export NODE_COMPILE_CACHE=/tmp/node
# under emulation V8 now and then dies in WasmTriggerTierUp ("it->second.Size() > offset") while types are stripped
export AMPHORA_TEST_NODE_FLAGS=--no-wasm-dynamic-tiering
busybox mount -t proc proc /proc
busybox mount -t sysfs sysfs /sys
busybox mount -t devtmpfs devtmpfs /dev
busybox mkdir -p /dev/pts /dev/shm /usr/lib/busybox
busybox mount -t devpts devpts /dev/pts
busybox mount -t tmpfs tmpfs /dev/shm
busybox mount -t tmpfs tmpfs /run
busybox mount -t tmpfs tmpfs /tmp
busybox mount -t cgroup2 cgroup2 /sys/fs/cgroup
busybox --install -s /usr/lib/busybox
mkdir -p /run/netns
# a scenario may be clients and members of 10,000 connections
ulimit -n 65536
ip link set lo up
modprobe -a virtio_net virtio_rng

# the port to the host can be open once: every process that needs it inherits it
for port in /sys/class/virtio-ports/*; do
  [ "$(cat "$port/name")" = amphora.report ] && exec 3<>"/dev/${port##*/}"
done
mkfifo /run/orders
cat <&3 >/run/orders &
cd /amphora
echo "a test machine, Linux $(uname -r)"
node $AMPHORA_TEST_NODE_FLAGS test/support/vm/inside-main.ts </run/orders
echo "the scenario's process ended: $?"
poweroff -f
