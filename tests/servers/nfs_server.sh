#!/bin/sh
# Run on a guest (see nfs_guest.sh): makes it the server, which exports three folders over NFS 4.2 and 3.
set -e
mount -t tmpfs tmpfs /var/lib/nfs
mkdir /var/lib/nfs/v4recovery
touch /var/lib/nfs/etab /var/lib/nfs/rmtab
modprobe -d /run nfsd
mount -t nfsd nfsd /proc/fs/nfsd
rpcbind

export_folder() { # its path below the root of NFS 4, its size, what else is said of it
    mkdir -p "/run/exports$1"
    mount -t tmpfs -o "mode=755,size=$2" tmpfs "/run/exports$1"
    exportfs -i -o "rw,sync,insecure,no_subtree_check,$3" "*:/run/exports$1"
}
export_folder '' 1m fsid=0
export_folder /export 1g fsid=1,no_root_squash
export_folder /small 8m fsid=2,no_root_squash
export_folder /squashed 1m fsid=3,root_squash

# No locks are granted while clients may reclaim old ones: there are none.
echo 3 >/proc/sys/fs/nfs/nlm_timeout
echo 1 >/proc/sys/fs/nfs/nlm_grace_period
rpc.mountd --port 20048
rpc.nfsd 8
echo Y >/proc/fs/nfsd/v4_end_grace
