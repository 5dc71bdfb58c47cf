#!/bin/sh
# Run the tests that the arguments name, with the command in PYTEST; without arguments all of them.
# Tests that measure time, or race on purpose, run alone: tests/service, tests/faults. The two halves
# of the guest tests run side by side, because most of their time is spent waiting for a guest.
set -u

if [ $# -gt 0 ]; then
    exec $PYTEST "$@"
fi
$PYTEST -n auto --ignore=tests/vm --ignore=tests/service --ignore=tests/faults || exit
$PYTEST tests/faults tests/service || exit
half="tests/vm/test_network_lab.py tests/vm/test_user_data.py"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
$PYTEST $half >"$log" 2>&1 &
$PYTEST tests/vm $(printf -- '--ignore=%s ' $half)
first=$?
wait $!
second=$?
cat "$log"
exit $((first ? first : second))
