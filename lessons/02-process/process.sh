#!/bin/sh
# A program that starts itself again, becomes a command, and hands on how that ended: the runtime without any namespace.
#
#   sh process.sh run /bin/sh -c 'exit 7'; echo $?
set -u

# step: start-again
# Starts this script again, as the child. The parentheses fork; exec makes of that process the script.
parent() {
    (exec sh "$0" child "$@")
    exit_status
}

# step: exit-status
# The shell has waited already, and makes one number of both ways to end: above 128, it was a signal.
exit_status() {
    status=$?
    [ "$status" -le 128 ] || echo "ended by signal $((status - 128))" >&2
    exit "$status"
}

# step: run-command
# exec is execve(2): this process and its number stay, and another program runs in it.
become() {
    exec env "$@"
}

case ${1:-} in
    run) shift; parent "$@" ;;
    child) shift; become "$@" ;;
    *) echo "usage: sh process.sh run COMMAND" >&2; exit 2 ;;
esac
