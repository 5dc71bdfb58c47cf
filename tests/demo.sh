#!/bin/bash
# The main job on a scratch tree: a sample config drive, as a real ISO image, configures a guest.
# Needs no root and changes nothing outside its scratch directory.
set -euo pipefail

tree=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
sample=$tree/tests/cases/samples/user-data
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

say() { printf '\n== %s\n' "$*"; }

guestagent() {
    printf '$ guestagent %s\n' "$*"
    "${PYTHON:-python3}" -BIS -c \
        'import sys; sys.path.insert(0, sys.argv.pop(1)); sys.path.append("/usr/lib/python3/dist-packages"); from guestagent.cli import main; sys.exit(main(sys.argv[1:]))' \
        "$tree" "$@" || status=$?
    printf '(exit status %s)\n' "${status:-0}"
}

say "A config drive with the label config-2"
xorriso -as mkisofs -quiet -J -r -V config-2 -o "$scratch/drive.iso" "$sample/drive" 2>/dev/null
cp -a "$sample/root" "$scratch/root"
((EUID)) || chown -R 1000:1000 "$scratch/root/home/debian"
cp -a "$scratch/root" "$scratch/before"
(cd "$sample/drive" && find . -type f)

say "Its user data, checked without a guest (the first lines)"
cp "$sample/drive/openstack/latest/user_data" "$scratch"
(cd "$scratch" && guestagent validate user_data | sed -n 1,3p)

agent=(--source "$scratch/drive.iso" --root "$scratch/root")

say "What a run would change"
status=0
guestagent --dry-run "${agent[@]}"
diff --no-dereference -r "$scratch/before" "$scratch/root" && echo "Nothing is changed yet."

say "The run"
status=0
guestagent apply "${agent[@]}"
[[ $status == 0 ]] || failed=yes

say "What is different now"
diff --no-dereference -rq "$scratch/before" "$scratch/root" | sed "s|$scratch/||g" || true

say "The report"
status=0
guestagent status --root "$scratch/root"

say "A second run has nothing to do"
status=0
guestagent --dry-run "${agent[@]}"
[[ $status == 0 && -z ${failed:-} ]]
