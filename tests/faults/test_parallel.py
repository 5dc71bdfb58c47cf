"""D6: twenty runs at once."""

from __future__ import annotations

import json
import subprocess

from .rig import Scene

_TRY_AGAIN = 75


def test_D6_of_twenty_runs_at_once_one_works_and_none_disturbs_it(scene: Scene) -> None:
    assert scene.run().returncode == 0
    alone = scene.snapshot()
    scene.fresh()
    runs = [subprocess.Popen(scene.command(), stderr=subprocess.PIPE, text=True) for _ in range(20)]
    told = [run.communicate(timeout=60)[1] for run in runs]
    assert {run.returncode for run in runs} <= {0, _TRY_AGAIN}, told
    assert sum("change /etc/hostname" in text for text in told) == 1
    assert scene.snapshot() == alone
    assert scene.temporaries() == []
    report = json.loads((scene.tree / "run/guestagent/report.json").read_text())
    assert report["exit_status"] == 0
