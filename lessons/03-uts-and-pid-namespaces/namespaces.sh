#!/bin/sh
# A host name and process numbers of its own: the runtime with these namespaces, on the machine's own files.
#
#   sh namespaces.sh run /bin/sh
set -eu

# step: new-mount-namespace
# Starts this script again, as the child. u is CLONE_NEWUTS, the host name; p is CLONE_NEWPID, process numbers; m is
# CLONE_NEWNS, mounts, for a /proc of its own. A new PID namespace is for children only: -f forks one.
parent() {
    exec unshare -u -p -m -f sh "$0" child "$@"
}

# step: set-up-container
# What the child does from the inside: only there it names nobody but itself.
set_up_container() {
    hostname box
    mount_proc
}

# step: mount-proc
# Covers the machine's /proc, in this mount namespace alone, with one that shows this PID namespace.
mount_proc() {
    mount -t proc -o nosuid,nodev,noexec proc /proc
}

# step: init
# Stays process 1 until the command has ended. The shell buries whoever else ends in the meantime.
as_process_one() {
    "$@" <&0 &
    wait $!
}

case ${1:-} in
    run) shift; parent "$@" ;;
    child) shift; set_up_container; as_process_one "$@" ;;
    *) echo "usage: sh namespaces.sh run COMMAND" >&2; exit 2 ;;
esac
