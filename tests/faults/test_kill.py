"""D1: kill -9 at every system call that changes something."""

from __future__ import annotations

from .rig import MUTATING, Call, Scene, changing, old_or_new


def _points(scene: Scene) -> list[Call]:
    """Each place where a run can be killed, once: numbers count in each process alone."""
    calls = changing(scene.calls(*MUTATING))
    agents = {call.process for call in calls if ".guestagent." in call.text}
    points = {(call.name, call.number): call for call in calls if call.process in agents}
    return list(points.values())


def _sweep(scene: Scene, every: int = 1) -> int:
    before = scene.snapshot()
    assert scene.run().returncode == 0
    after = scene.snapshot()
    scene.fresh()
    points = _points(scene)[::every]
    for call in points:
        scene.fresh()
        assert scene.inject(call, "signal=KILL").returncode != 0, call
        old_or_new(call, before, scene.snapshot(), after)
        again = scene.run()
        assert again.returncode == 0, (call, again.stderr)
        assert scene.snapshot() == after, call
        assert scene.temporaries() == [], call
    return len(points)


def test_D1_a_run_killed_anywhere_leaves_old_or_new_and_the_next_one_finishes(
    scene: Scene,
) -> None:
    assert _sweep(scene) >= 60


def test_D1_user_data_is_applied_once_wherever_a_run_is_killed(user_data: Scene) -> None:
    # What is not of user data is the same as above: a third of the points will do.
    assert _sweep(user_data, every=3) >= 25


def test_D1_a_child_killed_while_it_writes_as_the_user_leaves_old_or_new(
    keys_only: Scene,
) -> None:
    assert _sweep(keys_only) >= 15


def test_D1_the_list_of_what_was_staged_goes_although_nothing_else_is_to_do(
    name_only: Scene,
) -> None:
    (unlink,) = [call for call in name_only.calls("unlinkat") if "staging.json" in call.text]
    name_only.fresh()
    name_only.inject(unlink, "signal=KILL")
    assert name_only.temporaries() == ["var/lib/guestagent/staging.json"]
    assert (name_only.tree / "etc/hostname").read_text() == "web-1\n"
    assert name_only.run().returncode == 0
    assert name_only.temporaries() == []
