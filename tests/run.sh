#!/bin/sh
# Runs the tests that the arguments name, with the command in PYTEST; without arguments all, the two
# halves of the guest tests side by side: guests are waited for most of the time.
set -u

if [ $# -gt 0 ]; then
    exec $PYTEST "$@"
fi
half="tests/vm/test_network_lab.py tests/vm/test_user_data.py"
$PYTEST --ignore=tests/vm || exit
log=$(mktemp)
trap 'rm -f "$log"' EXIT
$PYTEST $half >"$log" 2>&1 &
$PYTEST tests/vm $(printf -- '--ignore=%s ' $half)
first=$?
wait $!
second=$?
cat "$log"
exit $((first ? first : second))
