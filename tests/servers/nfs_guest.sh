#!/bin/sh
# The first process of a guest's kernel: sets up what it needs, then runs the jobs that the host puts into its
# folder. The host's files are its root, read-only; only JOBS can be written, and what is mounted otherwise.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/run/home TMPDIR=/run/tmp
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmpfs /run
mkdir -p /run/lib /run/jobs /run/home /run/tmp /run/sendsigs.omit.d
ln -s /usr/lib/uml/modules /run/lib/modules
mount -t hostfs none /run/jobs -o "$JOBS"
modprobe -d /run nfsv4 && modprobe -d /run nfsv3
echo "$NAME" >/proc/sys/kernel/hostname # by which an NFS server tells its clients apart
ip link set lo up
ip addr add "$ADDRESS/24" dev vec0
ip link set vec0 up
ip route add default via "$GATEWAY"
: >/run/jobs/up
while :; do
    for job in /run/jobs/*.job; do
        [ -e "$job" ] || continue
        name=${job%.job}
        mv "$job" "$name.running"
        (
            sh "$name.running" >"$name.out" 2>&1 </dev/null
            echo $? >"$name.code.new"
            mv "$name.code.new" "$name.code"
        ) &
    done
    sleep 0.05
done
