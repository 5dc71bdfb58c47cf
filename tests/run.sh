#!/bin/sh
# Runs the tests that the arguments name, with the command in PYTEST; without arguments all, the two
# halves of the guest tests side by side: guests are waited for most of the time.
set -u

if [ $# -gt 0 ]; then
    exec $PYTEST "$@"
fi
lab=tests/vm/test_network_lab.py
$PYTEST --ignore=tests/vm || exit
log=$(mktemp)
trap 'rm -f "$log"' EXIT
$PYTEST $lab >"$log" 2>&1 &
$PYTEST tests/vm --ignore=$lab
first=$?
wait $!
second=$?
cat "$log"
exit $((first ? first : second))
