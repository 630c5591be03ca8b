#!/bin/sh
# The runtime once more, in shell: each system call is a program of nearly the same name. It works where the lesson
# does, but forgives nothing: what the runtime checks and mends is left out here.
#
#   sh container.sh pull busybox
#   sh container.sh run busybox /bin/sh          ROOT=pivot for pivot_root, MOUNT=proc for /proc
set -eu

registry=${NEWROOT_REGISTRY:-http://127.0.0.1:5000}
fs=${FS:-/fs}
path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# step: new-mount-namespace
# Starts this script again, as the child. Each letter is a flag of unshare(2): m is CLONE_NEWNS, the list of mounts, u
# the host name, i shared memory, p process numbers. A new PID namespace is for children only: -f forks one.
parent() {
    exec unshare -m -u -i -p -f sh "$0" child "$@"
}

# step: pull-image
# A registry is asked for a manifest, and for the layers that it names.
pull() {
    echo "Pulling $1"
    manifest=$(ask "$1/manifests/latest")
    case $manifest in *'"manifests"'*)
        # An index: one manifest for each kind of machine.
        one=$(printf %s "$manifest" | tr -d ' \n' | sed 's/},{/}\n{/g' | grep '"architecture":"amd64"' | head -n 1)
        manifest=$(ask "$1/manifests/$(printf %s "$one" | digests)")
    esac
    rootfs=$fs/$1/rootfs
    mkdir -p "$rootfs"
    # What stands before "layers" is the digest of the configuration.
    for digest in $(printf %s "${manifest#*\"layers\"}" | digests); do
        ask "$1/blobs/$digest" > "$fs/layer"
        # Not a byte is unpacked before it is known to be the right one.
        echo "${digest#sha256:}  $fs/layer" | sha256sum -c > /dev/null
        tar -xzf "$fs/layer" -C "$rootfs"
    done
    rm "$fs/layer"
    echo "Pulling done"
}

ask() {
    wget -q -O - --header "Accept: $manifest_types" "$registry/v2/library/$1"
}

digests() {
    grep -o 'sha256:[0-9a-f]*'
}

manifest_types='application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json,
 application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json'
manifest_types=$(printf %s "$manifest_types" | tr -d '\n')

# step: set-up-container
# The child: between new namespaces and a container.
child() {
    rootfs=$fs/$1/rootfs
    shift
    echo "Working directory: $(pwd)" >&2
    make_private
    [ "${MOUNT:-none}" = none ] || mount_proc
    case ${ROOT:-chroot} in
        chroot) change_root "$@" ;;
        pivot) pivot "$@" ;;
    esac
}

# step: propagation
# A copied mount stays in the peer group of its original. This takes all of them out. (The program unshare has done so
# already. The system call of that name does not.)
make_private() {
    mount --make-rprivate /
}

# step: mount-proc
# Before the root changes: afterwards a user namespace may not mount a new one any more.
mount_proc() {
    mount -t proc -o nosuid,nodev,noexec proc "$rootfs/proc"
}

# step: change-root
# chroot(1) makes three system calls: chroot(2), chdir(2) to the new root, and execve(2) of the command.
change_root() {
    become chroot "$rootfs" "$@"
}

# step: pivot-root
# pivot_root(8) wants a mount as the new root, and a directory in it for the old one.
pivot() {
    mount --rbind "$rootfs" "$rootfs"
    mkdir -p "$rootfs/.old"
    cd "$rootfs"
    pivot_root . .old
    cd /
    # From here on programs come out of the image. -l: the old root is in use by its own mounts.
    PATH=$path
    umount -l /.old
    rmdir /.old
    become "$@"
}

# step: run-command
# exec is execve(2): this process, its number and its namespaces stay, and another program runs in it. Of the machine's
# environment nothing comes along.
become() {
    exec env -i PATH="$path" HOME=/root TERM="${TERM:-dumb}" "$@"
}

case ${1:-} in
    pull) pull "$2" ;;
    run) shift; parent "$@" ;;
    child) shift; child "$@" ;;
    *) echo "usage: sh container.sh pull IMAGE | run IMAGE COMMAND" >&2; exit 2 ;;
esac
