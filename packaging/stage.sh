#!/bin/sh
# stage.sh NAME COMMAND...: runs the command, and says how many minutes it took. Its status is the
# command's.
set -u
name=$1
shift
echo "==> $name" >&2
start=$(date +%s)
"$@"
status=$?
seconds=$(($(date +%s) - start))
printf '==> %s: %d.%d minutes%s\n' "$name" $((seconds / 60)) $((seconds % 60 / 6)) \
    "$([ $status -eq 0 ] || echo ", failed ($status)")" >&2
exit $status
