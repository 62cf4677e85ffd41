#!/bin/sh
# Run on a guest (see nfs_guest.sh): makes it the server, which exports three folders over NFS 4.2 and 3.
set -e
mount -t tmpfs tmpfs /var/lib/nfs
mkdir /var/lib/nfs/v4recovery
touch /var/lib/nfs/etab /var/lib/nfs/rmtab
modprobe -d /run nfsd
mount -t nfsd nfsd /proc/fs/nfsd
rpcbind

export_disk() { # its path below the root of NFS 4, what is mounted there, what else is said of it
    mkdir -p "/run/exports$1"
    mount $2 "/run/exports$1"
    exportfs -i -o "rw,sync,insecure,no_subtree_check,$3" "*:/run/exports$1"
}
truncate -s 1G /run/disk
mkfs.ext4 -q -O ^has_journal /run/disk # it keeps user attributes; a tmpfs of this Linux doesn't
modprobe -d /run loop
export_disk '' '-t tmpfs -o mode=755 tmpfs' fsid=0
export_disk /export '-o loop /run/disk' fsid=1,no_root_squash
export_disk /small '-t tmpfs -o mode=755,size=8m tmpfs' fsid=2,no_root_squash
export_disk /squashed '-t tmpfs -o mode=755,size=1m tmpfs' fsid=3,root_squash

# No locks are granted while clients may reclaim old ones: there are none.
echo 3 >/proc/sys/fs/nfs/nlm_timeout
echo 1 >/proc/sys/fs/nfs/nlm_grace_period
rpc.mountd --port 20048
rpc.nfsd 8
echo Y >/proc/fs/nfsd/v4_end_grace
