# Cleans up after its owner. Standard input is a pipe whose other end only the owner holds, so it closes when the owner is
# gone, for whatever reason: a drop, a panic, SIGKILL. Until then each line is a command:
#   watch SIGNAL PID       send PID this signal at the end, 0 to only wait for it; a negative PID is a process group
#   watch container NAME   remove this container at the end
#   forget PID             the process has exited
# $1 is the directory to remove last.
trap '' INT HUP
watched=
while read -r order how id; do
    case $order in
    watch) watched="$watched $how:$id" ;;
    forget)
        kept=
        for entry in $watched; do
            [ "${entry#*:}" = "$how" ] || kept="$kept $entry"
        done
        watched=$kept
        ;;
    esac
done
pids=
for entry in $watched; do
    case $entry in
    container:*) ;;
    *) kill -s "${entry%%:*}" -- "${entry#*:}" && pids="$pids ${entry#*:}" ;;
    esac
done
# Five seconds for those that were not killed: Postgres releases its shared memory.
tries=0
while [ -n "$pids" ] && [ "$tries" -lt 100 ]; do
    running=
    for pid in $pids; do
        kill -s 0 -- "$pid" && running="$running $pid"
    done
    pids=$running
    tries=$((tries + 1))
    [ -z "$pids" ] || sleep 0.05
done
for pid in $pids; do
    kill -s KILL -- "$pid"
done
for entry in $watched; do
    case $entry in
    container:*) docker rm --force --volumes "${entry#*:}" ;;
    esac
done
rm -rf -- "$1"
