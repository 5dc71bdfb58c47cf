#!/bin/sh
# Run the tests that the arguments name, with the command in PYTEST; without arguments all of them.
# Services and faults race on purpose: no more than two of their tests run at once, on however many
# processors, and nothing beside them. Of guests, which have two processors each, two run at once.
set -u

# In CI, where nobody can look, what failed runs once more, alone: a guest may be slower than any
# deadline on a machine that does something else. Both times are printed; a fault fails twice.
run() {
    $PYTEST "$@"
    status=$?
    if [ $status -ne 1 ] || [ -z "${CI:-}" ]; then
        return $status
    fi
    echo "What failed above runs once more, alone:"
    $PYTEST "$@" -n 0 --last-failed --last-failed-no-failures none
}

if [ $# -gt 0 ]; then
    exec $PYTEST "$@"
fi
run -n auto --ignore=tests/vm --ignore=tests/service --ignore=tests/faults || exit
run -n 2 --dist worksteal tests/faults tests/service || exit
run -n 2 --dist loadfile tests/vm
