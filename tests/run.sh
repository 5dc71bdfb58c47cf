#!/bin/sh
# Run the tests that the arguments name, with the command in PYTEST; without arguments all of them.
# Services and faults race on purpose: no more than two of their tests run at once, on however many
# processors, and nothing beside them. Of guests, which have two processors each, two run at once.
set -u

if [ $# -gt 0 ]; then
    exec $PYTEST "$@"
fi
$PYTEST -n auto --ignore=tests/vm --ignore=tests/service --ignore=tests/faults || exit
$PYTEST -n 2 --dist worksteal tests/faults tests/service || exit
exec $PYTEST -n 2 --dist loadfile tests/vm
