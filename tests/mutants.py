"""Show that the tests catch what they are for: take one behaviour away, and they must fail.

``python3 -m tests.mutants [WORD …]``, or ``make mutants``: all behaviours, or those whose name has
one of the words in it.  Each is taken out of a copy of the tree, and its tests run there.  First
they all must pass in a copy that is as it is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).resolve().parents[1]
# Exit statuses of pytest; others mean that the tests could not run.
_PASSED, _FAILED = 0, 1
_FIRST_DRIVES = "service/test_drives.py::test_A1_A2_drives_at_a_first_boot"
_LATER_DRIVES = "service/test_drives.py::test_A1_A2_drives_at_a_later_boot"
_CHECKERS = "cases/test_own_checkers.py::"
_AT_REST = "service/test_at_rest.py"
_LATER = "userdata/test_later_boots.py"
_ONE_PLACE = (
    "faults/test_places.py::test_D2_one_place_that_cannot_be_written_costs_what_belongs_there"
)


class Mutant(NamedTuple):
    """A behaviour, and what takes it away: ``new`` in place of the only ``old`` in a file.

    ``file`` is below ``guestagent``.  ``tests`` are below ``tests``: the ones that must fail.
    """

    behaviour: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


MUTANTS = (
    # Disks
    Mutant(
        "a device that holds something is left alone unless overwriting is asked for",
        "desired/disks.py",
        '    [ "$1" != overwrite ] || return 0\n    fail "holds',
        '    return 0\n    fail "holds',
        ("userdata/test_plan_disks.py",),
    ),
    Mutant(
        "a device in use is left alone even where overwriting is asked for",
        "desired/disks.py",
        '{{ fail "is in use at" $used; return 1; }}',
        '{{ fail "is in use at" $used; }}',
        ("userdata/test_plan_disks.py",),
    ),
    Mutant(
        "what was written to a disk after an interruption is kept",
        "desired/disks.py",
        'if [ "$state" = begun ] && [ "$before" != "$(fingerprint)" ]; then',
        "if false; then",
        ("userdata/test_plan_disks.py",),
    ),
    # Who gets in
    Mutant(
        "no account is locked by default that may be the only way in",
        "desired/accounts/passwords.py",
        "if not who_gets_in([*logins, *locks], known_before).anyone:",
        "if False:",
        ("userdata/test_plan_locks.py",),
    ),
    Mutant(
        "a key that is tied to a command lets no one in",
        "desired/accounts/access.py",
        """'command="' not in line and _has_key(line)""",
        "_has_key(line)",
        ("unit/test_access.py",),
    ),
    Mutant(
        "the settings do not switch passwords off where no account has a key",
        "desired/sshd/__init__.py",
        "    if access.by_key:\n        return policy\n    if policy.ways",
        "    if True:\n        return policy\n    if policy.ways",
        ("userdata/test_plan_ssh.py",),
    ),
    Mutant(
        "no host key of the image is left where none could be made",
        "commit/host_keys.py",
        """                    waiting.append(kind)
        _remove_others(place.fd, own)""",
        "                    waiting.append(kind)",
        ("unit/test_host_keys.py",),
    ),
    Mutant(
        "host keys of the image that are not in /etc/ssh are an error",
        "desired/sshd/__init__.py",
        "if ask.first and ask.facts.host_keys:",
        "if False:",
        ("userdata/test_plan_hostkeys.py",),
    ),
    Mutant(
        "the image's host keys go once there is a new one",
        "commit/host_keys.py",
        "            own |= _install_given(change, place.fd, root)",
        "            _remove_others(place.fd, own)\n"
        "            own |= _install_given(change, place.fd, root)",
        ("unit/test_host_keys.py",),
    ),
    Mutant(
        "the image's host keys are gone from the disk before the state says so",
        "commit/host_keys.py",
        "        os.fsync(directory)",
        "        pass",
        ("unit/test_host_keys.py",),
    ),
    Mutant(
        "a new instance keeps no host key of the one before",
        "commit/host_keys.py",
        'present if change.others == "kept" else',
        "present if True else",
        ("unit/test_host_keys.py",),
    ),
    Mutant(
        "a host key that fails takes no other away",
        "commit/host_keys.py",
        "            except (Refused, OSError) as error:\n                failed[kind]",
        "            except ValueError as error:\n                failed[kind]",
        ("unit/test_host_keys.py",),
    ),
    Mutant(
        "a host key that was made stays when another is tried again",
        "commit/host_keys.py",
        "present & _names(change.done)",
        "present & _names(())",
        ("unit/test_host_keys.py",),
    ),
    Mutant(
        "a costly host key does not hold up sshd",
        "commit/host_keys.py",
        "if kind in change.deferrable and _has_key(own):",
        "if False:",
        ("unit/test_host_keys.py",),
    ),
    Mutant(
        "sshd does not start without a host key",
        "commit/host_keys.py",
        "if kind in change.deferrable and _has_key(own):",
        "if kind in change.deferrable:",
        ("unit/test_host_keys.py",),
    ),
    Mutant(
        "another instance that wants no costly host key gets none",
        "commit/host_keys.py",
        "    if kind not in waiting:",
        "    if False:",
        ("unit/test_host_keys.py",),
    ),
    Mutant(
        "host keys are not made on a disk",
        "defs.py",
        'HOST_KEYS_WORK = "/run/guestagent/hostkeys"',
        'HOST_KEYS_WORK = "/var/lib/guestagent/hostkeys"',
        ("unit/test_host_keys.py::test_B5_no_key_is_made_where_the_state_is",),
    ),
    Mutant(
        "the password of an earlier instance is locked",
        "plan/kinds/account.py",
        '(beginning == "password" and view.first)',
        "False",
        ("unit/test_changes.py::test_D4_the_password_of_an_earlier_instance_is_locked",),
    ),
    Mutant(
        "that password stays where no key lets anyone in",
        "plan/kinds/account.py",
        "    if not view.lets_in:",
        "    if False:",
        ("unit/test_changes.py::test_D4_the_password_of_an_earlier_instance_is_locked",),
    ),
    Mutant(
        "the drop-in that switches passwords off waits for a key",
        "commit/sshd.py",
        "    if change.switches_off:\n        _check_ways",
        "    if False:\n        _check_ways",
        ("cases/test_logins.py",),
    ),
    Mutant(
        "what does not switch passwords off is taken back",
        "live/sshd.py",
        "if change.switches_off and keyword == _PASSWORDS:",
        "if False:",
        ("cases/test_logins.py", "unit/test_live_sshd.py"),
    ),
    Mutant(
        "a drop-in that sshd was not asked about is written again",
        "plan/kinds/sshd.py",
        "if not changes and not outcome.kept and not view.is_done(self.key):",
        "if False:",
        ("cases/test_logins.py",),
    ),
    Mutant(
        "keys go where sshd reads them",
        "desired/accounts/reach.py",
        ".get(_FILES, _USUAL)",
        ".get('', _USUAL)",
        ("cases/test_logins.py",),
    ),
    Mutant(
        "sshd is asked whether it reads the keys that were written",
        "live/sshd.py",
        "if path in [",
        "if True or path in [",
        ("cases/test_logins.py",),
    ),
    Mutant(
        "a file of sshd's that cannot be read keeps no key away",
        "facts/sshd.py",
        "    except (Refused, OSError):\n        yield SshdLine(UNREADABLE, path, match, path)",
        "    except (Refused, OSError):\n        raise",
        ("cases/test_logins.py",),
    ),
    Mutant(
        "a key that is kept out is no reason to switch passwords off",
        "desired/accounts/reach.py",
        "item = item._replace(lets_in=not reasons)",
        "pass",
        ("cases/test_logins.py",),
    ),
    Mutant(
        "passwords go only where sshd reads one of the files of keys",
        "live/sshd.py",
        "if useless.keys() >= set(change.key_files) else",
        "if False else",
        ("cases/test_logins.py",),
    ),
    Mutant(
        "a setting of sshd that keeps a key out is a warning",
        "desired/accounts/reach.py",
        "wanted.warn(why, KEPT_OUT.format(user=name, reason=reason))",
        "pass",
        ("cases/test_logins.py",),
    ),
    Mutant(
        "keys that no account gets are a warning",
        "desired/accounts/authorized.py",
        "    wanted.warn(users.at(), reason)",
        "    pass",
        ("userdata/test_plan_users.py",),
    ),
    Mutant(
        "a setting that sshd does not use is reported",
        "live/sshd.py",
        "if effective.get(keyword) == value:",
        "if True:",
        ("unit/test_live_sshd.py",),
    ),
    Mutant(
        "a change of the network is taken back unless it is confirmed",
        "live/rollback.py",
        "        _start_timer(seconds)\n",
        "        pass\n",
        ("unit/test_rollback.py",),
    ),
    Mutant(
        "a network that was not confirmed is not applied again",
        "verbs/planning.py",
        "if intent.rejected and network_digest(plan.record) == intent.rejected:",
        "if False:",
        ("unit/test_rollback.py::test_what_was_taken_back_is_not_applied_again",),
    ),
    Mutant(
        "user data that can no longer be used change nothing",
        "verbs/planning.py",
        "if wrong and not same:",
        "if False:",
        (
            "userdata/test_later_boots.py"
            "::test_D8_other_user_data_that_cannot_be_used_change_nothing",
        ),
    ),
    Mutant(
        "a crash over user data leaves the rest of the guest configured",
        "verbs/planning.py",
        "if not ask.data.config and not ask.data.scripts:\n            raise",
        "if True:\n            raise",
        ("userdata/test_internal_errors.py",),
    ),
    Mutant(
        "a source that does not speak of the network leaves it as it is",
        "verbs/planning.py",
        "        scope = _without_unmentioned_network(scope, data)\n",
        "",
        ("unit/test_planning.py::test_a_later_run_without_network_data_keeps_the_network",),
    ),
    Mutant(
        "a guest that would get no address gets DHCP",
        "desired/network/__init__.py",
        "if not any(_gives_address(interface) for interface in interfaces):",
        "if False:",
        ("unit/test_network_plan.py::test_fallback_is_dhcp_on_every_nic_and_the_report_says_so",),
    ),
    Mutant(
        "a source with errors is not complete: what it does not name stays",
        "verbs/planning.py",
        "return not errors and not self.bundle.unchanged",
        "return not self.bundle.unchanged",
        (
            "unit/test_planning.py::test_D8_a_source_with_errors_is_not_complete",
            "userdata/test_later_boots.py::test_D8_what_a_source_with_errors_does_not_name_stays",
        ),
    ),
    Mutant(
        "a locked user database is waited for",
        "commit/account.py",
        "if time.monotonic() > deadline and not _remove_stale_locks(root):",
        "if True:",
        ("unit/test_apply_accounts.py::test_B6_a_locked_user_database_is_waited_for",),
    ),
    Mutant(
        "a user database that stays locked ends the run with a status of its own",
        "commit/account.py",
        """raise AccountsLocked(f"{name}: the user database is locked")""",
        """raise Refused(f"{name}: the user database is locked")""",
        ("unit/test_apply_accounts.py::test_B6_a_user_database_that_stays_locked_ends_the_run",),
    ),
    Mutant(
        "a run waits only once for a locked user database",
        "commit/__init__.py",
        "                self.locked = error",
        "                self.locked = None",
        ("unit/test_apply_accounts.py::test_B6_a_run_waits_only_once_for_a_locked_user_database",),
    ),
    Mutant(
        "no wait goes by the wall clock: accounts",
        "commit/account.py",
        "if time.monotonic() > deadline and not _remove_stale_locks(root):",
        "if time.time() > deadline:",
        ("faults/test_clock.py::test_D7_a_lock_is_waited_for_as_long_at_any_time",),
    ),
    Mutant(
        "no wait goes by the wall clock: the metadata service",
        "sources/retry.py",
        "        if time.monotonic() + pause >= end:\n            raise Unreachable",
        "        if time.time() + pause >= end:\n            raise Unreachable",
        ("unit/test_architecture.py::test_D7_the_wall_clock_is_only_shown",),
    ),
    Mutant(
        "a key that cannot be used takes no other key away",
        "plan/kinds/block.py",
        "() if not self.partial or not view.is_done(self.key) else",
        "() if True else",
        ("userdata/test_later_boots.py",),
    ),
    Mutant(
        "keys of an earlier instance do not stay beside a bad one",
        "plan/kinds/block.py",
        "if not self.partial or not view.is_done(self.key) else",
        "if not self.partial else",
        ("userdata/test_later_boots.py",),
    ),
    Mutant(
        "keys stay where the source does not say which there are",
        "verbs/planning.py",
        "        scope = _without_unmentioned_keys(scope, data)\n",
        "",
        ("userdata/test_later_boots.py",),
    ),
    Mutant(
        "a key that ssh-keygen refuses is not taken for no key",
        "verbs/planning.py",
        "ssh_keys=usable or None, partial_keys=bool(usable)",
        "ssh_keys=usable",
        ("unit/test_planning.py",),
    ),
    Mutant(
        "OpenStack: good keys beside a bad one are not all",
        "parse/openstack.py",
        "return found[: defs.MAX_KEYS], lost",
        "return found[: defs.MAX_KEYS], False",
        ("unit/test_openstack.py",),
    ),
    Mutant(
        "EC2: good keys beside a bad one are not all",
        "parse/ec2.py",
        "lost or len(found) > defs.MAX_KEYS",
        "False",
        ("unit/test_ec2.py",),
    ),
    Mutant(
        "NoCloud: good keys beside a bad one are not all",
        "parse/nocloud.py",
        "return tuple(found[: defs.MAX_KEYS]), lost",
        "return tuple(found[: defs.MAX_KEYS]), False",
        ("unit/test_nocloud.py",),
    ),
    Mutant(
        "NoCloud: other user data with errors are not applied",
        "sources/bundle.py",
        'if f"/{name}".endswith(USER_DATA):',
        "if name.endswith(USER_DATA):",
        ("unit/test_nocloud.py",),
    ),
    # Secrets
    Mutant(
        "a secret does not print itself",
        "model.py",
        'return "Secret(…)"',
        "return self._text",
        ("unit/test_changes.py::test_B3_a_secret_is_in_no_repr",),
    ),
    Mutant(
        "a plan for people masks what only root may read",
        "plan/kinds/file.py",
        "        if self.hidden:\n",
        "        if False:\n",
        ("cases/test_cases.py::test_B3_no_secret_is_shown_or_kept",),
    ),
    Mutant(
        "a plan for programs masks what only root may read",
        "plan/kinds/file.py",
        "if not change.hidden:",
        "if True:",
        ("cases/test_cases.py::test_a_run_does_what_its_dry_run_says",),
    ),
    Mutant(
        "a plan masks what others wrote and not everyone may read",
        "plan/kinds/file.py",
        "if found.mode is None or found.mode & 0o004:",
        "if True:",
        ("unit/test_changes.py::test_B3_what_others_wrote_for_few_is_not_shown",),
    ),
    Mutant(
        "no digest of what is masked is shown",
        "plan/kinds/file.py",
        """{"sha256": None, "content": None}""",
        """{"sha256": __import__("hashlib").sha256(change.new).hexdigest(), "content": None}""",
        ("unit/test_cli.py::test_B3_no_digest_of_what_is_masked_is_shown",),
    ),
    Mutant(
        "the name of a step that carries files tells nothing of them",
        "plan/kinds/late.py",
        "digest(about.encode('utf-8', 'surrogateescape'))",
        "digest(content)",
        (
            "unit/test_once.py"
            "::TestLateFiles::test_B3_the_name_of_the_step_tells_nothing_of_the_contents",
        ),
    ),
    Mutant(
        "an answer of the metadata service is gone once it is read",
        "sources/remote.py",
        "    finally:\n        remove_answer(root)",
        "    finally:\n        pass",
        (f"{_AT_REST}::test_B5_a_run_that_is_killed_and_resumed_leaves_nothing",),
    ),
    Mutant(
        "an answer of the metadata service is gone where no run could begin",
        "verbs/apply.py",
        "            remove_fetched(root)  #",
        "            pass  #",
        (f"{_AT_REST}::test_B5_a_run_that_ends_before_it_begins_keeps_no_answer",),
    ),
    Mutant(
        "a script that ran is removed",
        "scripts/runner.py",
        "            self._remove(folder, name)",
        "            pass",
        (
            f"{_AT_REST}::test_B5_what_a_service_said_is_at_rest_nowhere",
            f"{_AT_REST}::test_B5_what_a_drive_said_is_at_rest_nowhere",
        ),
    ),
    Mutant(
        "only root may read scripts that wait",
        "defs.py",
        "STEP_MODE = 0o700",
        "STEP_MODE = 0o755",
        (f"{_AT_REST}::test_B5_what_a_drive_said_is_at_rest_nowhere",),
    ),
    Mutant(
        "only root may enter where scripts and the state are",
        "system/ownfiles.py",
        "        os.fchmod(fd, 0o700)",
        "        pass",
        (f"{_AT_REST}::test_B5_what_a_drive_said_is_at_rest_nowhere",),
    ),
    Mutant(
        "a wrong field of a user costs that field alone",
        "parse/userdata/containers.py",
        "any_bad = any_bad or not field.alone",
        "any_bad = True",
        ("userdata/test_check_settings.py", "userdata/test_plan_users.py"),
    ),
    Mutant(
        "a file of a repository with a password is root's alone",
        "desired/packages/yum.py",
        "mode=0o600 if is_secret else 0o644",
        "mode=0o644",
        ("userdata/test_plan_yum.py",),
    ),
    Mutant(
        "a line of a repository's option begins no other option",
        "desired/packages/yum.py",
        'return "\\n    ".join(',
        'return "\\n".join(',
        ("userdata/test_plan_yum.py",),
    ),
    Mutant(
        "odd permissions of what is appended do not open a secret",
        "desired/write_files.py",
        "mode = earlier.mode if _given_mode(item) is None else new.mode",
        "mode = new.mode",
        ("userdata/test_plan_write_files.py",),
    ),
    Mutant(
        "no option of sudo is taken that is not known",
        "desired/accounts/rules.py",
        "if not (is_flag or is_number or is_list):",
        "if False:",
        ("userdata/test_plan_rules.py",),
    ),
    Mutant(
        "secrets of the metadata are no variables of templates",
        "parse/userdata/variables.py",
        'if name.replace("-", "_").lower() not in _SECRET',
        "if True",
        ("userdata/test_variables.py",),
    ),
    Mutant(
        "a message about a template does not quote it",
        "system/jinja.py",
        'return f"fails in Jinja2 with {type(error).__name__}"',
        'return f"fails in Jinja2 with {error}"',
        ("userdata/test_templates.py",),
    ),
    Mutant(
        "a template gets no more memory than it may",
        "system/jinja.py",
        "        memory=defs.TEMPLATE_MEMORY,\n",
        "",
        ("userdata/test_templates.py::test_D10_a_template_that_takes_too_much_is_given_up",),
    ),
    Mutant(
        "what is rendered without Jinja2 is bounded",
        "parse/userdata/templates.py",
        "if self.size > defs.UNPACKED_LIMIT:",
        "if False:",
        ("userdata/test_templates.py",),
    ),
    Mutant(
        "a method of a value is left to Jinja2",
        "parse/userdata/templates.py",
        "if is_dotted and is_method:",
        "if False:",
        ("userdata/test_templates.py",),
    ),
    Mutant(
        "a block takes the end of its line along, as in Jinja2",
        "parse/userdata/templates.py",
        r'_END_OF_BLOCK = r"\+%\}|-%\}\s*|%\}\n?"',
        r'_END_OF_BLOCK = r"\+%\}|-%\}\s*|%\}"',
        ("userdata/test_templates.py",),
    ),
    Mutant(
        "a message about an internal error does not quote it",
        "errors.py",
        "{type(error).__name__} at {file}",
        "{error} at {file}",
        ("userdata/test_internal_errors.py",),
    ),
    Mutant(
        "only root reads what guestagent remembers",
        "memory/state.py",
        "0o600)",
        "0o644)",
        ("unit/test_state.py",),
    ),
    Mutant(
        "control characters reach no log",
        "log.py",
        "if text.isprintable():",
        "if True:",
        ("unit/test_log.py",),
    ),
    # Once, and for the right machine
    Mutant(
        "what is done once per instance is not done again",
        "plan/view.py",
        "return key in self.recorded and not self.first",
        "return False",
        ("unit/test_changes.py",),
    ),
    Mutant(
        "a new instance gets everything again",
        "plan/view.py",
        "return key in self.recorded and not self.first",
        "return key in self.recorded",
        ("unit/test_changes.py",),
    ),
    Mutant(
        "what an administrator changed is kept",
        "plan/view.py",
        "if not self.is_done(key) or self.recorded[key] == now:",
        "if True:",
        ("unit/test_changes.py::test_an_administrators_edit_is_kept_and_told",),
    ),
    Mutant(
        "a file that an administrator changed is not removed",
        "plan/kinds/file.py",
        "!= view.recorded[key]:\n        return Outcome(kept",
        "!= view.recorded[key] and False:\n        return Outcome(kept",
        ("unit/test_changes.py::test_an_edited_file_is_not_removed",),
    ),
    Mutant(
        "another instance's id is a first boot",
        "verbs/new_instance.py",
        "    return State(record=before.record)",
        "    return before",
        ("unit/test_cli.py::test_D4_a_new_instance_runs_first_boot_again",),
    ),
    Mutant(
        "a metadata service that speaks of another machine changes nothing",
        "verbs/new_instance.py",
        "if own and identify().own_uuid and own != told:",
        "if False:",
        ("service/test_trust.py::test_C1_another_uuid_than_the_hypervisor_s_changes_nothing",),
    ),
    Mutant(
        "another EC2 instance on the same machine is not a first boot",
        "verbs/new_instance.py",
        "in (before.instance_id, before.machine)",
        "== before.instance_id",
        (
            "service/test_boot.py::test_C1_another_ec2_instance_on_the_same_machine_is_no_first_boot",
        ),
    ),
    Mutant(
        "a metadata service that names no instance changes nothing",
        "verbs/new_instance.py",
        "raise WrongSource(_NAMELESS)",
        "pass",
        (
            "service/test_boot.py::test_C1_an_answer_that_names_no_instance_is_not_for_the_known_one",
        ),
    ),
    Mutant(
        "a later boot over HTTP changes access alone",
        "verbs/planning.py",
        "scope = _without_withheld(scope, may)",
        "pass",
        ("service/test_boot.py::test_C1_a_later_boot_changes_access_alone",),
    ),
    Mutant(
        "a later boot over HTTP gives keys to no account that had none",
        "verbs/planning.py",
        "return wanted.refreshed - others",
        "return wanted.refreshed",
        ("service/test_boot.py::test_C1_a_later_boot_changes_access_alone",),
    ),
    Mutant(
        "a later boot over HTTP writes keys into the homes of accounts alone",
        "desired/__init__.py",
        'if not item.user or item.path.startswith(f"{homes[item.account]}/"):',
        "if True:",
        ("unit/test_planning.py::test_C1_keys_go_to_homes_of_accounts_that_exist",),
    ),
    Mutant(
        "an error at a later boot over HTTP opens nothing",
        "verbs/change.py",
        "undone and (before.unfinished or not before.configured)",
        "undone",
        ("service/test_boot.py::test_C1_a_boot_with_an_error_opens_nothing",),
    ),
    Mutant(
        "a first boot that could not read all is completed over HTTP",
        "verbs/planning.py",
        "known = before.configured and not before.unfinished",
        "known = before.configured",
        ("service/test_boot.py::test_C7_a_first_boot_that_could_not_read_all_is_completed_once",),
    ),
    Mutant(
        "what a first boot over HTTP wrote stays when the service forgets it",
        "verbs/planning.py",
        "return not any(is_of(key) for is_of in kinds)",
        "return False",
        ("service/test_boot.py::test_C1_what_a_first_boot_wrote_stays",),
    ),
    Mutant(
        "what was withheld is asked for again",
        "verbs/change.py",
        "if bundle.service and not planned.withheld:",
        "if bundle.service:",
        ("service/test_boot.py::test_C1_a_later_boot_changes_everything_only_by_setting",),
    ),
    Mutant(
        "a script that is in the ledger does not run again",
        "scripts/runner.py",
        "entry = self.ledger.find(script)",
        "entry = None",
        ("userdata/test_runner.py",),
    ),
    Mutant(
        "the drive of another instance is not applied to this machine",
        "verbs/new_instance.py",
        "known_machine = root.live and not trusted and _is_same_machine(before)",
        "known_machine = False",
        (
            "unit/test_planning.py"
            "::test_D4_the_drive_of_another_instance_is_not_applied_to_this_machine",
        ),
    ),
    Mutant(
        "a script that runs once runs in no other boot and for no other instance",
        "scripts/ledger.py",
        """return script.frequency == "once" or entry.boot == self.boot""",
        "return entry.boot == self.boot",
        ("userdata/test_runner.py",),
    ),
    Mutant(
        "another version of guestagent plans again",
        "memory/state.py",
        """return f"{VERSION} {_source(run, bundle)} {tree}\"""",
        """return f"0 {_source(run, bundle)} {tree}\"""",
        ("unit/test_state.py::test_another_version_of_guestagent_finds_something_to_do",),
    ),
    Mutant(
        "no lease replaces DNS servers that matter more",
        "desired/network/__init__.py",
        "lease_dns=not (less and",
        "lease_dns=not (False and",
        ("unit/test_network_plan.py",),
    ),
    Mutant(
        "sshd is asked whether a locked password keeps a key out",
        "facts/__init__.py",
        "(not asks_pam or any(",
        "(any(",
        ("cases/test_logins.py::TestObstacles::test_D8_without_a_word_of_pam_sshd_is_asked",),
    ),
    Mutant(
        "passwords that a Match block keeps on are told",
        "live/sshd.py",
        "if line.match and line.keyword in _TAKES_PASSWORDS",
        "if False and line.keyword in _TAKES_PASSWORDS",
        ("unit/test_live_sshd.py",),
    ),
    Mutant(
        "of a file that not everyone may read, others' lines are not shown",
        "plan/kinds/file.py",
        "return self.edits and self.old is not None and not (self.old_mode or 0) & 0o004",
        "return False",
        ("unit/test_edits.py",),
    ),
    Mutant(
        "only listed types of file systems reach the kernel",
        "sources/mount.py",
        "if file_system not in defs.FILE_SYSTEMS:",
        "if False:",
        ("unit/test_sources.py::test_A2_a_type_that_is_not_listed_reaches_no_driver",),
    ),
    Mutant(
        "a drive is mounted with every attribute that makes it harmless",
        "sources/mount.py",
        "_ATTRIBUTES = RDONLY | NOSUID | NODEV | NOEXEC | NOSYMFOLLOW",
        "_ATTRIBUTES = RDONLY | NOSUID | NODEV | NOEXEC",
        (
            "unit/test_sources.py"
            "::test_A2_a_drive_is_mounted_with_every_attribute_that_makes_it_harmless",
        ),
    ),
    Mutant(
        "no program or library of an offline tree is used",
        "system/mounts.py",
        "NOSUID | NODEV | NOEXEC)",
        "NOSUID | NODEV)",
        ("unit/test_tree_programs.py",),
    ),
    Mutant(
        "no program or library of what is mounted in an offline tree is used",
        "system/mounts.py",
        "_EMPTY_PATH | _RECURSIVE, NOSUID",
        "_EMPTY_PATH, NOSUID",
        ("unit/test_tree_programs.py",),
    ),
    Mutant(
        "no link of /proc leads out of an offline tree",
        "system/mounts.py",
        'mount.kind == "proc"',
        'mount.kind == "none"',
        ("unit/test_tree_programs.py",),
    ),
    Mutant(
        "no device of a drive can be opened, and no program of it started",
        "sources/mount.py",
        "_ATTRIBUTES = RDONLY | NOSUID | NODEV | NOEXEC | NOSYMFOLLOW",
        "_ATTRIBUTES = RDONLY | NOSUID | NOSYMFOLLOW",
        (
            "unit/test_sources.py"
            "::test_A2_a_drive_is_mounted_with_every_attribute_that_makes_it_harmless",
        ),
    ),
    Mutant(
        "the kernel writes nothing to a drive that it mounts",
        "sources/mount.py",
        """        call(_FSCONFIG, context, _SET_FLAG, b"ro", None, 0)\n""",
        "",
        ("unit/test_sources.py::test_A2_the_file_system_itself_is_read_only",),
    ),
    Mutant(
        "the content of a device says whether it is mounted, whatever its label",
        "sources/path.py",
        """    if volume[1:6] == b"CD001":""",
        "    if volume:",
        (
            "unit/test_sources.py::test_A2_another_file_system_reaches_no_call_that_mounts",
            _FIRST_DRIVES,
        ),
    ),
    Mutant(
        "a drive has one of two types of file systems, as udev knows it",
        "sources/udev.py",
        """ and device.get("ID_FS_TYPE") in defs.FILE_SYSTEMS""",
        "",
        (_FIRST_DRIVES,),
    ),
    Mutant(
        "a drive has the label, in whatever case",
        "sources/udev.py",
        "return label.lower() == defs.LABEL",
        "return label == defs.LABEL",
        (_FIRST_DRIVES,),
    ),
    Mutant(
        "a drive has no other label",
        "sources/udev.py",
        "return label.lower() == defs.LABEL",
        "return label.lower().startswith(defs.LABEL)",
        (_FIRST_DRIVES,),
    ),
    Mutant(
        "the link of udev is trusted only if one device claims it",
        "sources/find.py",
        "if len(linked) == 1 and _has_one_claim():",
        "if len(linked) == 1:",
        (_FIRST_DRIVES,),
    ),
    Mutant(
        "the drive of another instance changes nothing at a later boot, in a whole run",
        "verbs/new_instance.py",
        "known_machine = root.live and not trusted and _is_same_machine(before)",
        "known_machine = False",
        (_LATER_DRIVES,),
    ),
    Mutant(
        "drives that differ change nothing, in a whole run",
        "sources/find.py",
        "if other.seen != first.seen:",
        "if False:",
        (_FIRST_DRIVES,),
    ),
    Mutant(
        "uuids are the same in whatever case",
        "parse/fields.py",
        'raise FieldError(f"must have 1 to {_WORD_LIMIT} {reason}")\n    return text.lower()',
        'raise FieldError(f"must have 1 to {_WORD_LIMIT} {reason}")\n    return text',
        (_FIRST_DRIVES,),
    ),
    Mutant(
        "of two drives the one with this machine's uuid is used",
        "sources/find.py",
        "if own and identify(bundle) == own:",
        "if False:",
        ("unit/test_find.py::test_A1_the_machines_uuid_tells_drives_apart",),
    ),
    Mutant(
        "of two drives that differ, and that the uuid does not tell apart, none is used",
        "sources/find.py",
        "if other.seen != first.seen:",
        "if False:",
        ("unit/test_find.py::test_A1_without_a_uuid_nothing_else_tells_them_apart",),
    ),
    Mutant(
        "two drives are compared in all that they say",
        "sources/find.py",
        "        read(other)\n",
        "",
        ("unit/test_find.py::test_A1_the_machines_uuid_tells_drives_apart",),
    ),
    Mutant(
        "a broken drive does not spoil the machine's own",
        "sources/find.py",
        "if broken and not mine:",
        "if broken:",
        ("unit/test_find.py::test_A1_the_machines_uuid_tells_drives_apart",),
    ),
    Mutant(
        "a broken drive that may be the machine's own is not passed over",
        "sources/find.py",
        "if broken and not mine:",
        "if broken and not bundles:",
        ("unit/test_find.py::test_A1_the_machines_uuid_tells_drives_apart",),
    ),
    Mutant(
        "a drive without a uuid changes nothing of a configured machine",
        "verbs/new_instance.py",
        "if root.live and not named",
        "if False",
        (
            "unit/test_planning.py::"
            "test_A1_a_source_without_a_uuid_changes_nothing_of_a_configured_machine",
        ),
    ),
    Mutant(
        "a drive without a uuid that was applied is still the machine's",
        "verbs/new_instance.py",
        " and not is_same_source(before, said.bundle):",
        ":",
        (
            "unit/test_planning.py::"
            "test_A1_a_drive_without_a_uuid_that_was_applied_is_still_the_machines",
        ),
    ),
    Mutant(
        "a volume for another instance is not applied on the machine that was configured",
        "verbs/new_instance.py",
        "in (before.instance_id, before.machine)",
        "== before.instance_id",
        ("unit/test_planning.py::test_A1_another_instance_on_the_machine_that_was_configured",),
    ),
    Mutant(
        "a machine whose drive is missing does not ask the network",
        "verbs/source.py",
        "    if before.drive:\n        # The drive",
        "    if False:\n        # The drive",
        (
            "unit/test_open_source.py",
            "service/test_boot.py::test_C1_a_guest_that_had_a_drive_does_not_ask_a_service",
        ),
    ),
    Mutant(
        "a drive that cannot be read is not taken for a missing one",
        "sources/directory.py",
        'raise SourceBroken(f"{name}: {reason}, {tries} times") from None',
        "return None",
        ("unit/test_sources.py",),
    ),
    Mutant(
        "a document that cannot be read is not taken for a missing one",
        "sources/directory.py",
        "            raise Unreadable(str(error)) from None\n",
        "            return None\n",
        ("unit/test_sources.py",),
    ),
    Mutant(
        "the metadata service is asked at addresses, never at a name",
        "defs.py",
        """METADATA_ADDRESSES = ("169.254.169.254",""",
        """METADATA_ADDRESSES = ("metadata.google.internal",""",
        ("unit/test_units.py::test_C1_the_unit_that_asks_reaches_only_the_addresses",),
    ),
    Mutant(
        "no name server is asked for the addresses of the metadata service",
        "sources/endpoints.py",
        "        literal = socket.AI_NUMERICHOST",
        """        socket.getaddrinfo("metadata.google.internal", 80)
        literal = socket.AI_NUMERICHOST""",
        ("service/test_trust.py::test_C1_only_literal_addresses_are_talked_to",),
    ),
    Mutant(
        "a product that only begins like OpenStack's is no sign of a cloud",
        "sources/cloud.py",
        "    if product in defs.OPENSTACK_PRODUCTS:",
        "    if product.startswith(defs.OPENSTACK_PRODUCTS):",
        ("unit/test_cloud.py::test_C1_without_a_mark_there_is_no_cloud",),
    ),
    Mutant(
        "without a DMI table there is no sign of a cloud",
        "sources/cloud.py",
        "    if product in defs.OPENSTACK_PRODUCTS:",
        "    if product in ('', *defs.OPENSTACK_PRODUCTS):",
        ("service/test_trust.py::test_C1_without_dmi_nobody_is_asked",),
    ),
    Mutant(
        "only a whole variable of the first process is a sign of a cloud",
        "sources/cloud.py",
        """    if "product_name=OpenStack Nova" in environment:""",
        """    if "product_name=OpenStack Nova" in str(environment):""",
        ("unit/test_cloud.py::test_C1_without_a_mark_there_is_no_cloud",),
    ),
    Mutant(
        "a machine of Nova has the uuid of its instance",
        "sources/cloud.py",
        """f"DMI product {product}", own_uuid=True)""",
        """f"DMI product {product}")""",
        ("service/test_trust.py::test_C1_another_uuid_than_the_hypervisor_s_changes_nothing",),
    ),
    Mutant(
        "who names openstack does not switch off that the uuid must be the machine's",
        "sources/cloud.py",
        """Cloud("openstack", evidence, own_uuid=own_uuid)""",
        """Cloud("openstack", evidence)""",
        ("unit/test_cloud.py::test_C1_who_names_openstack_does_not_switch_the_uuid_s_check_off",),
    ),
    Mutant(
        "the link that answered is used for all documents",
        "sources/http.py",
        "sock = self.endpoint.connect(",
        "sock = self.endpoint._replace(interface='').connect(",
        (
            "service/test_trust.py::test_C1_a_link_that_answered_is_kept_though_it_is_not_the_routed_one",
        ),
    ),
    Mutant(
        "answers that differ end the run with a status of their own",
        "sources/remote.py",
        "    if answer.error and answer.wrong:",
        "    if False:",
        ("service/test_trust.py::test_C1_two_sound_answers_that_differ_change_nothing",),
    ),
    Mutant(
        "the host name is set without the right to do nearly anything",
        "system/machine.py",
        "    except PermissionError:\n        with open(defs.KERNEL_HOSTNAME",
        "    except ZeroDivisionError:\n        with open(defs.KERNEL_HOSTNAME",
        ("unit/test_machine.py",),
    ),
    Mutant(
        "without a sign of a cloud no metadata service is asked",
        "sources/cloud.py",
        "return _openstack() or _ec2() or NO_CLOUD",
        'return _openstack() or _ec2() or Cloud("openstack", "")',
        ("unit/test_cloud.py",),
    ),
    Mutant(
        "only hardware, and what is stacked on it, is asked for metadata",
        "sources/endpoints.py",
        "if _is_hardware(name, _MOST_LAYERS)]",
        "]",
        (
            "unit/test_endpoints.py::test_C1_no_other_link_is_asked",
            "service/test_trust.py::test_C1_a_link_that_is_not_hardware_is_not_asked",
        ),
    ),
    Mutant(
        "a tunnel over hardware is not hardware",
        "sources/endpoints.py",
        "if not layers or not any(line in _STACKED for line in kind):",
        "if not layers:",
        ("unit/test_endpoints.py::test_C1_no_other_link_is_asked",),
    ),
    Mutant(
        "a route over a link that is not asked does not count",
        "sources/endpoints.py",
        "if is_route and os.fsdecode(name) in links and",
        "if is_route and",
        ("unit/test_endpoints.py::test_C1_a_route_over_another_link_does_not_count",),
    ),
    Mutant(
        "a request goes by the link that was chosen for it",
        "sources/endpoints.py",
        "sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name)",
        "pass",
        ("service/test_links.py::test_C8_where_the_route_leads_astray_the_other_links_are_asked",),
    ),
    Mutant(
        "while the link of the route answers nobody else is asked",
        "sources/retry.py",
        "elif self.ready and not self._routed_is_asked and now >= self._next:",
        "elif self.ready:",
        ("service/test_trust.py::test_C1_the_link_of_the_route_goes_first",),
    ),
    Mutant(
        "two sound answers that differ are an error",
        "sources/retry.py",
        "if other.said != chosen.said:",
        "if False:",
        ("service/test_trust.py::test_C1_two_sound_answers_that_differ_are_an_error",),
    ),
    Mutant(
        "a second answer is waited for",
        "sources/retry.py",
        "return since >= defs.RACE_LISTEN",
        "return True",
        ("service/test_trust.py::test_C1_a_slow_answer_that_differs_is_heard",),
    ),
    Mutant(
        "an answer for another machine does not count beside one for this",
        "sources/retry.py",
        "if uuid and each.is_about(uuid)] or found[:]",
        "]",
        ("service/test_trust.py::test_C1_an_answer_for_another_machine_does_not_count",),
    ),
    Mutant(
        "a service that gives no sound answer does not win",
        "sources/service.py",
        "if not isinstance(loads_of_source(content)[0], dict):",
        "if False:",
        ("service/test_patience.py::test_C10_an_unsound_first_document_is_no_service",),
    ),
    Mutant(
        "a document that drips in ends at its time",
        "sources/http.py",
        "        if left <= 0:\n            raise TimeoutError(_TOO_LONG)\n",
        "",
        ("service/test_deadlines.py::test_C4_the_whole_ends_at_its_limit",),
    ),
    # Files
    Mutant(
        "a link that a user made is not followed",
        "system/root.py",
        "if writable or not owned or self.owners[-1] is not None:",
        "if False:",
        ("unit/test_root.py",),
    ),
    # SELinux
    Mutant(
        "a staged file has its label from the start",
        "commit/file.py",
        "with self.root.labelled(folder.fd, name):",
        "if True:",
        ("unit/test_selinux.py",),
    ),
    Mutant(
        "a folder that is made has its label from the start",
        "system/root.py",
        "with self.labelled(walk.fds[-1], name, S_IFDIR):",
        "if True:",
        ("unit/test_selinux.py",),
    ),
    Mutant(
        "what a user's file is in has its label",
        "commit/file.py",
        "with self.root.labelled(self._here, name, S_IFDIR):",
        "if True:",
        ("unit/test_selinux.py",),
    ),
    Mutant(
        "a file that is written as a user has its label",
        "commit/file.py",
        "with below.root.labelled(folder, name):",
        "if True:",
        ("unit/test_selinux.py",),
    ),
    Mutant(
        "a home has its label",
        "commit/home.py",
        "with root.labelled_as(path, S_IFDIR):\n        os.mkdir(temporary,",
        "if True:\n        os.mkdir(temporary,",
        ("unit/test_selinux.py",),
    ),
    Mutant(
        "what is in a home has its label",
        "commit/home.py",
        'with root.labelled_as(f"{path}/{name}"):',
        "if True:",
        ("unit/test_selinux.py",),
    ),
    Mutant(
        "a host key has its label",
        "commit/host_keys.py",
        "with root.labelled(directory, name):",
        "if True:",
        ("unit/test_selinux.py",),
    ),
    Mutant(
        "ssh-keygen works where its policy lets it write",
        "commit/host_keys.py",
        "with root.labelled_as(defs.SSH_DIR, S_IFDIR):",
        "if True:",
        ("unit/test_selinux.py",),
    ),
    Mutant(
        "guestagent's own files have their labels",
        "system/ownfiles.py",
        "with root.labelled(directory, name):",
        "if True:",
        ("unit/test_selinux.py",),
    ),
    Mutant(
        "sshd need not open what SELinux forbids it",
        "commit/sshd.py",
        'run([tool, "-t", "-f", os.devnull, *options])',
        'run([tool, "-t", "-f", "/dev/stdin"], content)',
        ("unit/test_selinux.py",),
    ),
    Mutant(
        "keys that SELinux keeps from sshd switch no passwords off",
        "commit/sshd.py",
        "return why_denied(path, tool)",
        'return ""',
        ("unit/test_selinux.py",),
    ),
    Mutant(
        "keys that SELinux keeps from sshd are told",
        "verbs/change.py",
        "if reason or root.has_policy():",
        "if reason:",
        ("unit/test_selinux.py",),
    ),
    Mutant(
        "a policy that is not enforced keeps nothing from sshd",
        "system/selinux.py",
        'if _read(defs.SELINUX) != "1":',
        "if False:",
        ("unit/test_selinux.py",),
    ),
    Mutant(
        "a label is for one file alone",
        "system/selinux.py",
        'self._set(b"\\n")',
        "pass",
        ("unit/test_selinux.py",),
    ),
    Mutant(
        "the policy of this machine does not label another tree",
        "system/root.py",
        "return self.live and os.path.exists(defs.SELINUX)",
        "return os.path.exists(defs.SELINUX)",
        ("unit/test_selinux.py",),
    ),
    Mutant(
        "a hard link gives no other user's file",
        "system/root.py",
        "if owner is not None and found.st_uid != owner:",
        "if False:",
        ("unit/test_root.py",),
    ),
    Mutant(
        "a directory that others may exchange is walked to again",
        "system/root.py",
        "if found.st_uid not in self.trusted or _is_exposed(fd, found, self.trusted):",
        "if False:",
        ("unit/test_root.py",),
    ),
    Mutant(
        "in a user's directory that user writes, not root",
        "system/privsep.py",
        "            os.setresuid(uid, uid, uid)\n",
        "",
        ("unit/test_apply.py::TestB1",),
    ),
    Mutant(
        "whoever writes as a user has none of root's groups",
        "system/privsep.py",
        "os.setgroups([])",
        "pass",
        ("faults/test_privsep_race.py::test_B1_the_work_is_done_as_the_user_with_no_other_group",),
    ),
    Mutant(
        "one read-only place costs only what belongs there",
        "commit/file.py",
        "_HERE_ONLY = (EROFS, EACCES,",
        "_HERE_ONLY = (EACCES,",
        ("faults/test_errors.py::test_D2_one_read_only_directory_costs_what_belongs_there",),
    ),
    Mutant(
        "what the kernel takes in pieces is written whole",
        "system/ownfiles.py",
        "    while left:\n        left = left[os.write(fd, left) :]",
        "    os.write(fd, left)",
        (
            "unit/test_apply.py::test_D2_what_the_kernel_takes_in_pieces_is_written_whole",
            "faults/test_errors.py::test_D2_a_disk_that_fills_up_for_real_leaves_no_file_cut_short",
        ),
    ),
    Mutant(
        "what is staged is on the disk before it is renamed",
        "commit/file.py",
        "self.fail(change, error)\n        sync_tree(self.root.fd)\n\n    def _leave_list",
        "self.fail(change, error)\n\n    def _leave_list",
        ("faults/test_trace.py",),
    ),
    Mutant(
        "names are on the disk before they are remembered",
        "commit/file.py",
        "        self.staged = left\n        sync_tree(self.root.fd)",
        "        self.staged = left",
        ("faults/test_trace.py",),
    ),
    Mutant(
        "a file that is written alone is on the disk before its name",
        "system/ownfiles.py",
        "        if durable:\n            os.fsync(fd)",
        "        if False:\n            os.fsync(fd)",
        ("faults/test_trace.py",),
    ),
    Mutant(
        "a failure while files are staged leaves the tree as it was",
        "commit/file.py",
        "if error.errno not in _HERE_ONLY:",
        "if False:",
        ("unit/test_apply.py::test_D2_a_failure_while_staging_leaves_the_tree_as_it_was",),
    ),
    Mutant(
        "what a killed run had staged is removed",
        "commit/__init__.py",
        "    file.clean(root)\n",
        "",
        ("unit/test_apply.py::test_D1_what_a_killed_run_staged_is_removed",),
    ),
    Mutant(
        "a file is for root alone until it has its mode",
        "commit/file.py",
        "os.open(temporary, NEW_FILE, 0o600,",
        "os.open(temporary, NEW_FILE, 0o644,",
        (
            "faults/test_trace.py"
            "::test_B4_every_file_is_made_for_root_alone_and_gets_its_mode_before_its_name",
        ),
    ),
    Mutant(
        "a user's own lines around guestagent's stay",
        "plan/kinds/block.py",
        "start = mine[0] if mine else len(lines)",
        "start = 0",
        ("unit/test_changes.py::test_D8_a_block_leaves_the_users_lines_byte_identical",),
    ),
    Mutant(
        "the command that is shown is the one that runs",
        "commit/account.py",
        "_run([path, *arguments], stdin",
        '_run([path, "-q", *arguments], stdin',
        ("unit/test_apply_accounts.py",),
    ),
    Mutant(
        "a run looks again at what it did",
        "verbs/change.py",
        "planning.verify(planned, root, done.record)",
        "{}",
        (
            "unit/test_change.py::test_what_still_differs_after_a_run_is_an_error",
            "unit/test_change.py"
            "::test_what_was_written_with_other_content_is_an_error_and_written_again",
        ),
    ),
    Mutant(
        "a run that finds nothing new does nothing",
        "memory/state.py",
        "return can_compare(run, bundle) and",
        "return False and",
        ("unit/test_cli.py::test_the_report",),
    ),
    Mutant(
        "one run at a time",
        "system/lock.py",
        "flock(fd, LOCK_EX | LOCK_NB)",
        "pass",
        ("unit/test_cli.py::test_D6_the_lock_excludes",),
    ),
    # Values
    Mutant(
        "a bad character in JSON spoils one text, not the document",
        "system/jsontext.py",
        "            value = _load_leniently(content)\n",
        "            value = None\n",
        ("cases/test_bad_characters.py", "unit/test_jsontext.py"),
    ),
    Mutant(
        "no bad character of JSON reaches a validator as a printable one",
        "system/jsontext.py",
        """return "".join("\\0" if""",
        """return "".join("\\ufffd" if""",
        ("unit/test_jsontext.py",),
    ),
    Mutant(
        "a script of which a character was lost does not run",
        "parse/userdata/vendor_texts.py",
        """isinstance(item, str) and "\\0" in item:""",
        "False:",
        ("userdata/test_vendor_texts.py",),
    ),
    Mutant(
        "a name that cannot be read leaves the NICs what they had",
        "parse/openstack.py",
        "partial=found.partial or _NETWORK in self.odd_names",
        "partial=found.partial",
        ("unit/test_openstack.py",),
    ),
    Mutant(
        "a key is of the type inside that it says outside",
        "parse/fields.py",
        "if kind_inside != kind.encode() or not numbers:",
        "if not numbers:",
        ("unit/test_fields.py::test_E3_what_is_no_key",),
    ),
    Mutant(
        "netplan's file has no text that needs escapes",
        "stacks/netplan/render.py",
        """if not (text.isascii() and text.isprintable()) or '"' in text or "\\\\" in text:""",
        "if False:",
        ("unit/test_netplan.py::test_E9_what_would_need_escapes_is_not_quoted",),
    ),
    Mutant(
        "a key is whole and of its size",
        "parse/fields.py",
        "if not _key_fits(kind, numbers):",
        "if False:",
        ("unit/test_fields.py::test_E3_what_is_no_key",),
    ),
    Mutant(
        "a key is one line, whoever reads it",
        "parse/fields.py",
        "words = plain(text.strip()).split(None, 2)",
        "words = text.strip().split(None, 2)",
        (_CHECKERS + "test_E3_ssh_keygen_lists_the_accepted_keys_and_no_other",),
    ),
    Mutant(
        "a key is one line for the parser too",
        "parse/openstack.py",
        """text.replace("\\r\\n", "\\n").split("\\n"):""",
        "text.splitlines():",
        (_CHECKERS + "test_E3_ssh_keygen_lists_the_accepted_keys_and_no_other",),
    ),
    Mutant(
        "a key is base64 and nothing else",
        "parse/fields.py",
        """"".join(text.split()).encode(), strict_mode=True)""",
        """"".join(text.split()).encode())""",
        (_CHECKERS + "test_E3_ssh_keygen_lists_the_accepted_keys_and_no_other",),
    ),
    Mutant(
        "a key has no options before it",
        "parse/fields.py",
        "    words = plain(text.strip()).split(None, 2)\n    if len(words) < 2 or",
        "    words = plain(text.strip()[text.find('ssh-') :]).split(None, 2)\n"
        "    if len(words) < 2 or",
        (_CHECKERS + "test_E3_ssh_keygen_lists_the_accepted_keys_and_no_other",),
    ),
    Mutant(
        "a comment of a key is cut",
        "parse/fields.py",
        "*(part[:_COMMENT_LIMIT] for part in comment)",
        "*comment",
        (
            "unit/test_fields.py::test_E3_a_long_comment_is_cut",
            _CHECKERS + "test_E3_ssh_keygen_lists_the_accepted_keys_and_no_other",
        ),
    ),
    Mutant(
        "a host name is made of letters, digits and hyphens",
        "parse/fields.py",
        "    if not all(_is_label(label) for label in labels):",
        "    if False:",
        (
            "unit/test_fields.py::test_E1_what_is_no_host_name",
            _CHECKERS + "test_E2_no_host_name_makes_another_line_or_name",
        ),
    ),
    Mutant(
        "sshd is told of nothing but passwords and root's login",
        "desired/sshd/__init__.py",
        """    lines = [f"# {note}." for note in policy.notes]""",
        """    lines = ["X11Forwarding no", *(f"# {note}." for note in policy.notes)]""",
        (_CHECKERS + "test_E4_sshd_is_told_of_passwords_and_root_s_login_and_nothing_else",),
    ),
    Mutant(
        "no script's file is named by a path of user data",
        "parse/userdata/split_parts.py",
        "if character in _NAME_CHARACTERS)",
        "if character in _NAME_CHARACTERS or character in ' %')",
        (_CHECKERS + "test_E12_no_file_is_named_by_text_of_the_source",),
    ),
    Mutant(
        "only root may read netplan's file",
        "stacks/netplan/render.py",
        "_MODE = 0o600",
        "_MODE = 0o644",
        ("network/test_conformance.py::test_E9_netplan",),
    ),
    Mutant(
        "every text in netplan's file is quoted",
        "stacks/netplan/render.py",
        "else _quote(str(value))",
        "else str(value)",
        ("unit/test_netplan.py::test_E9_every_text_is_quoted",),
    ),
    Mutant(
        "netplan reads of a file what was meant, and nothing more",
        "stacks/netplan/render.py",
        """        return "true" if value else "false\"""",
        """        return "false\"""",
        ("network/test_conformance.py::test_E9_netplan",),
    ),
    Mutant(
        "only root may read profiles of NetworkManager",
        "stacks/networkmanager/render.py",
        "_MODE = 0o600",
        "_MODE = 0o644",
        ("network/test_conformance.py::test_E6_networkmanager",),
    ),
    Mutant(
        "YAML has a size that is looked at first",
        "parse/userdata/yamltree.py",
        "    if len(content) > defs.YAML_LIMIT:",
        "    if False:",
        ("userdata/test_yamltree.py::test_E8_size_is_looked_at_first",),
    ),
    Mutant(
        "YAML is not nested without end",
        "parse/userdata/yamltree.py",
        "        if len(self._stack) >= defs.YAML_DEPTH:",
        "        if False:",
        ("userdata/test_yamltree.py::test_E8_depth_is_bounded_in_the_text_and_through_aliases",),
    ),
    Mutant(
        "a bad value spoils only itself",
        "errors.py",
        "            self.error(origin, str(error))\n            return otherwise",
        "            raise",
        ("unit/test_errors.py",),
    ),
    Mutant(
        "an interface is the NIC with its MAC address",
        "desired/network/match.py",
        "if mac and (nic.mac.lower() == mac or _is_infiniband(nic, mac)):",
        "if mac:",
        ("unit/test_match.py",),
    ),
    Mutant(
        "an address that stays is not taken away while the network reloads",
        "stacks/ifupdown/read_back.py",
        'elif word == "down" and setting not in new:',
        'elif word == "down":',
        ("unit/test_ifupdown_reload.py",),
    ),
    Mutant(
        "no value that is not canonical reaches a file of a network stack",
        "stacks/check.py",
        "if not isinstance(value, str) or canonical(value) != value:",
        "if False:",
        ("unit/test_rendered.py::test_E5_E7_a_model_with_a_bad_field_is_not_rendered",),
    ),
    Mutant(
        "a value stays one word in a script",
        "desired/shell_quoting.py",
        """.replace("'", "'\\\\''")""",
        "",
        ("userdata/test_plan_user_scripts.py",),
    ),
    Mutant(
        "no injected file goes to a directory of the kernel or of guestagent",
        "parse/fields.py",
        'if f"{path}/".startswith(tuple(f"{tree}/" for tree in _CLOSED_TREES)):',
        "if False:",
        ("unit/test_fields.py::test_B2_bad_paths",),
    ),
    Mutant(
        "a password has one line",
        "parse/fields.py",
        "    return plain(text)\n\n\ndef ssh_key",
        "    return text\n\n\ndef ssh_key",
        ("unit/test_fields.py::test_B6_what_chpasswd_could_misread_is_no_password",),
    ),
    # Staged files, and children that have become a user
    Mutant(
        "staged names cannot be guessed",
        "commit/file.py",
        "{defs.TEMPORARY_PREFIX}{os.urandom(8).hex()}",
        "{defs.TEMPORARY_PREFIX}0000",
        ("unit/test_staging.py::test_B1_staged_names_differ_from_run_to_run",),
    ),
    Mutant(
        "a staged name that exists spoils only itself",
        "commit/file.py",
        "EPERM, EEXIST, ENOTDIR",
        "EPERM, ENOTDIR",
        ("unit/test_staging.py::test_B1_a_staged_name_that_exists_spoils_only_itself",),
    ),
    Mutant(
        "a staged file that was exchanged is not put in place",
        "commit/file.py",
        "                item.check(os.stat(",
        "                id(os.stat(",
        (
            "unit/test_staging.py"
            "::test_B1_a_staged_file_that_another_takes_the_name_of_is_not_put_in_place",
            "unit/test_staging.py::test_B1_a_folder_that_is_exchanged_while_it_is_closed_gets_nothing",
        ),
    ),
    Mutant(
        "a staged file that was exchanged is given to no one",
        "commit/file.py",
        "            item.check(os.fstat(fd))\n            os.fchown",
        "            os.fchown",
        ("unit/test_staging.py::test_B1_a_staged_file_that_is_exchanged_is_not_put_in_place",),
    ),
    Mutant(
        "where a group may write, nothing is staged",
        "system/root.py",
        "not folder.st_mode & 0o020:",
        "True:",
        ("unit/test_staging.py::test_B1_where_a_group_may_write_nothing_is_staged",),
    ),
    Mutant(
        "what is in the way of a user's file does not keep it out",
        "system/ownfiles.py",
        "        except OSError:  # a directory",
        "        except ZeroDivisionError:  # a directory",
        ("unit/test_staging.py::test_B1_what_is_in_the_way_of_a_user_s_file_does_not_keep_it_out",),
    ),
    Mutant(
        "a child that its user stops is killed",
        "system/privsep.py",
        "        _kill(pid)\n",
        "",
        ("unit/test_staging.py::test_B1_a_child_that_its_user_stops_is_killed",),
    ),
    Mutant(
        "a user who stopped a child is not waited for again",
        "system/privsep.py",
        "    if uid in _too_slow:",
        "    if False:",
        ("unit/test_staging.py::test_B1_a_child_that_its_user_stops_is_killed",),
    ),
    Mutant(
        "a new file with the inode of a staged one is not taken for it",
        "commit/file.py",
        "return file.st_dev, file.st_ino, file.st_ctime_ns",
        "return file.st_dev, file.st_ino, 0",
        ("unit/test_staging.py::test_B1_a_new_file_with_the_inode_of_a_staged_one_is_another",),
    ),
    Mutant(
        "few directories of staged files are open at a time",
        "commit/file.py",
        "        if len(self._open) > _MOST_FOLDERS:",
        "        if False:",
        ("unit/test_staging.py::test_more_files_than_a_process_may_open",),
    ),
    Mutant(
        "a directory is walked to once for all files in it",
        "commit/file.py",
        "        if way in self._open:",
        "        if False:",
        ("unit/test_staging.py::test_a_folder_is_walked_to_once_for_all_files_in_it",),
    ),
    Mutant(
        "a child that dies costs the file that it was at, not those after it",
        "system/privsep.py",
        "    while len(reasons) < len(items):",
        "    if len(reasons) < len(items):",
        ("unit/test_staging.py::test_a_child_that_dies_costs_only_the_file_that_it_was_at",),
    ),
    Mutant(
        "the folder of a user's file is the one that it is to be in",
        "commit/file.py",
        "        if folders != self._folders:",
        "        if not self._folders:",
        ("unit/test_staging.py::test_one_child_writes_all_files_of_a_user",),
    ),
    Mutant(
        "a password that is refused spoils no other",
        "commit/__init__.py",
        "            return False  # each by itself says which of them it was, and why",
        "            pass",
        ("unit/test_apply_accounts.py::test_B6_a_password_that_is_refused_spoils_no_other",),
    ),
    Mutant(
        "one run of a command sets all passwords",
        "commit/__init__.py",
        "        if len(changes) == 1 or self.locked is not None:",
        "        if True:",
        ("unit/test_apply_accounts.py::test_B3_one_run_of_a_command_sets_all_passwords",),
    ),
    Mutant(
        "a plan with many files is not searched for each of them",
        "plan/view.py",
        "write = self._writes.get(path)",
        "write = {getattr(c, 'path', ''): c for c in self.changes}.get(path)",
        ("unit/test_growth.py",),
    ),
    Mutant(
        "a copy of the skeleton that a power cut left with zero bytes is made again",
        "plan/kinds/home.py",
        'return not content.strip(b"\\0")',
        "return False",
        (
            "faults/test_accounts.py::"
            "test_D3_copies_of_the_skeleton_that_a_power_cut_spoilt_are_made_again",
        ),
    ),
    Mutant(
        "settings that are known are not parsed again",
        "verbs/change.py",
        "        settings_digest=run.known.digest,\n",
        "",
        ("unit/test_imports.py::test_an_unchanged_run_does_not_parse_settings_again",),
    ),
    Mutant(
        "what is wrong in user data is told by an unchanged run too",
        "verbs/apply.py",
        'report.after("compare", before.problems)',
        'report.after("compare")',
        (f"{_LATER}::test_what_is_wrong_in_user_data_is_told_again_and_not_parsed_again",),
    ),
    Mutant(
        "what was refused is tried again by each run",
        "verbs/planning.py",
        "    lasting = not wanted.passing and not crashed and not refused",
        "    lasting = True",
        (f"{_LATER}::test_what_could_not_be_written_is_tried_again_by_each_run",),
    ),
    Mutant(
        "what may pass is looked at again",
        "verbs/planning.py",
        "    lasting = not wrong or not (found.passing",
        "    lasting = not wrong or not (False",
        (f"{_LATER}::test_what_may_pass_is_looked_at_again",),
    ),
    Mutant(
        "settings that the state has are those that the files mean",
        "settings.py",
        'said = f"{VERSION}\\n{dumps(values)}\\n".encode()',
        "said = b''",
        ("unit/test_settings.py",),
    ),
    # Read-only and full places
    Mutant(
        "where /var cannot be written, the rest is applied",
        "commit/file.py",
        "if not is_apart(self.root, defs.STATE_DIR, error):",
        "if True:",
        (_ONE_PLACE,),
    ),
    Mutant(
        "one full file system keeps no other from being written",
        "commit/file.py",
        "if error.errno in _FULL and is_apart(self.root, change.path, error):",
        "if False:",
        (_ONE_PLACE,),
    ),
    Mutant(
        "of what belongs in a full file system, nothing is applied by half",
        "commit/file.py",
        "[item for item in self.staged if item.written.st_dev == full]",
        "[]",
        (_ONE_PLACE,),
    ),
    Mutant(
        "a user database that cannot be written is not called locked",
        "commit/account.py",
        "        _check_place(root)\n",
        "",
        (_ONE_PLACE,),
    ),
    Mutant(
        "nothing is appended that cannot be remembered",
        "commit/__init__.py",
        'if change.kind != "write" or not change.append:',
        "if True:",
        ("faults/test_places.py::test_D2_nothing_is_appended_that_cannot_be_remembered",),
    ),
    # Limits
    Mutant(
        "YAML aliases count as what they stand for",
        "parse/userdata/yamltree.py",
        "parent.nodes += node.nodes",
        "parent.nodes += 1",
        (
            "userdata/test_yamltree.py::test_E8_a_document_that_would_expand_is_refused_before_it_does",
        ),
    ),
    Mutant(
        "no more parts of a message are looked for than are allowed",
        "parse/userdata/mime.py",
        "if line < 0 or len(found) > most:",
        "if line < 0:",
        ("userdata/test_mime.py::test_E10_no_more_parts_are_looked_for_than_asked",),
    ),
    Mutant(
        "gzip data are never unpacked beyond the limit",
        "parse/userdata/unpack.py",
        "fields.gunzipped(content, self._room)",
        "fields.gunzipped(content, 1 << 30)",
        ("userdata/test_split_hostile.py::test_E10_a_gzip_bomb_never_takes_more_than_the_limit",),
    ),
    Mutant(
        "problems: of one document a few are listed",
        "errors.py",
        "if count.kept < defs.MAX_PROBLEMS:",
        "if True:",
        (
            "unit/test_floods.py::test_C10_a_flood_is_a_few_problems_and_the_rest_is_applied",
            "unit/test_floods.py::test_C10_a_flood_takes_no_more_memory_than_the_document",
        ),
    ),
    Mutant(
        "problems: a long name is not repeated in each",
        "errors.py",
        "len(step) > _STEP_LIMIT:",
        "False:",
        ("unit/test_floods.py::test_C10_a_long_name_is_not_in_every_problem",),
    ),
    Mutant(
        "settings with a number of thousands of digits spoil their file alone",
        "parse/settings_file.py",
        "    except ValueError:  # of int(), from 4300 digits on\n",
        "    except ZeroDivisionError:\n",
        ("unit/test_floods.py::test_C10_settings_that_cannot_be_read_have_no_effect",),
    ),
    Mutant(
        "settings that are nested too deep spoil their file alone",
        "parse/settings_file.py",
        "    except RecursionError:\n        problems.error(file",
        "    except ZeroDivisionError:\n        problems.error(file",
        ("unit/test_floods.py::test_C10_settings_that_cannot_be_read_have_no_effect",),
    ),
    Mutant(
        "a folder of a drive is not read without end",
        "sources/directory.py",
        "if len(names) > defs.MAX_NAMES:",
        "if False:",
        ("unit/test_floods.py::test_A4_a_folder_with_too_many_names_is_an_error_of_the_source",),
    ),
    Mutant(
        "names on a drive need not be UTF-8",
        "sources/bundle.py",
        'return names.encode("utf-8", "surrogateescape")',
        "return names.encode()",
        ("unit/test_floods.py::test_A4_names_that_are_not_utf_8_are_read_and_told",),
    ),
    Mutant(
        "paths that are not UTF-8 leave the state readable",
        "system/jsontext.py",
        "        if not own:\n            _check(value, 0)",
        "        _check(value, 0)",
        ("unit/test_floods.py::test_D5_a_path_that_is_not_utf_8_does_not_spoil_the_state",),
    ),
    Mutant(
        "what no later run could read is not written",
        "system/ownfiles.py",
        "if len(content) > defs.GUEST_FILE_LIMIT:",
        "if False:",
        ("unit/test_floods.py::test_D5_what_could_not_be_read_again_is_not_written",),
    ),
    Mutant(
        "the limit for guestagent's own files is the same for writing and reading",
        "system/jsontext.py",
        "loads(content, defs.GUEST_FILE_LIMIT, own=True)",
        "loads(content, own=True)",
        ("unit/test_floods.py::test_D5_a_state_of_more_than_1_mib_is_read_as_it_was_written",),
    ),
    Mutant(
        "a spoiled state is told",
        "verbs/apply.py",
        "    if lost is not None:\n",
        "    if False:\n",
        ("unit/test_floods.py::test_D5_a_spoiled_state_is_told_and_the_run_makes_a_new_one",),
    ),
    Mutant(
        "a state with a value of a wrong type counts as none",
        "memory/state.py",
        'if not isinstance(value, str) or "\\0" in value:',
        "if False:",
        ("unit/test_floods.py::test_D5_no_value_of_a_state_stops_a_run",),
    ),
    Mutant(
        "a report with a value of a wrong type counts as none",
        "report/run.py",
        "if not isinstance(found, dict) or not _is_sound(found):",
        "if not isinstance(found, dict):",
        ("unit/test_floods.py::test_D5_no_value_of_a_report_stops_who_reads_it",),
    ),
    Mutant(
        "deferred files are divided among scripts",
        "plan/kinds/late.py",
        "if not parts or room < 0:",
        "if not parts:",
        ("unit/test_floods.py::test_deferred_files_of_more_than_1_mib_together_are_all_written",),
    ),
    # While the system runs
    Mutant(
        "a drive changes access alone while the system runs",
        "verbs/planning.py",
        "access=now or ",
        "access=",
        ("service/test_refresh.py",),
    ),
    Mutant(
        "the drive of another instance is not obeyed while the system runs",
        "verbs/change.py",
        "if options.refresh and not trusted:",
        "if False:",
        ("service/test_refresh.py",),
    ),
    Mutant(
        "what a running system withholds is applied by the next boot",
        "verbs/change.py",
        "if planned.withheld and not bundle.service:",
        "if False:",
        ("service/test_refresh.py",),
    ),
    Mutant(
        "a NIC that comes while the system runs gets DHCP without any source",
        "verbs/apply.py",
        "elif options.refresh and before.configured and ",
        "elif False and ",
        ("service/test_refresh.py",),
    ),
    Mutant(
        "a run that finds nothing to do leaves the report of the boot",
        "verbs/apply.py",
        "if not _says_nothing_new(options, root, report):",
        "if True:",
        ("service/test_refresh.py",),
    ),
    Mutant(
        "a second run does not forget what the network's services still have",
        "live/network.py",
        "for item in ownfiles.read(root, defs.RELOAD_FILE) or []}",
        "for item in []}",
        ("unit/test_live_network.py",),
    ),
    Mutant(
        "a poll without a change is one request",
        "sources/service.py",
        "if request.brief and",
        "if False and",
        ("service/test_refresh.py",),
    ),
    Mutant(
        "a poll does not take a tree that changed for the one that was left",
        "verbs/source.py",
        "brief=options.poll and is_tree_unchanged(before, root)",
        "brief=options.poll",
        ("service/test_refresh.py",),
    ),
    # The daemon
    Mutant(
        "a storm of events starts a run every 5 seconds at most",
        "daemon/agenda.py",
        "max(now + delay, self._started + SPACING)",
        "now + delay",
        ("unit/test_daemon_agenda.py",),
    ),
    Mutant(
        "events do not put off a run that is due",
        "daemon/agenda.py",
        "min(when, self.due.get(REFRESH, when))",
        "when",
        ("unit/test_daemon_agenda.py",),
    ),
    Mutant(
        "polls do not put off the look for an answer",
        "daemon/agenda.py",
        "self.due.setdefault(CHECK, now + self._spread(self._pause))",
        "self.due[CHECK] = now + self._spread(self._pause)",
        ("unit/test_daemon_agenda.py",),
    ),
    Mutant(
        "a service that does not answer is not polled beside",
        "daemon/main.py",
        "if name == POLL and _has_no_answer():",
        "if False:",
        ("unit/test_daemon.py",),
    ),
    Mutant(
        "devices of containers wake no run",
        "daemon/agenda.py",
        """not event.devpath.startswith("/devices/virtual/")""",
        "True",
        ("unit/test_daemon_agenda.py",),
    ),
    Mutant(
        "events that were missed are made up for",
        "daemon/main.py",
        "found = self._has_nic = True",
        "pass",
        ("unit/test_daemon.py",),
    ),
    Mutant(
        "a run that could not begin is made later",
        "daemon/main.py",
        "if status and self._report == resident.identity(defs.REPORT_FILE):",
        "if False:",
        ("unit/test_daemon.py",),
    ),
    Mutant(
        "a NIC that came between the boot and the daemon is seen",
        "daemon/main.py",
        "if wants.nics and watched and present != watched:",
        "if False:",
        ("unit/test_daemon.py",),
    ),
    Mutant(
        "a service without an answer is asked until it gives one",
        "daemon/main.py",
        "if name == CHECK and not _has_no_answer():",
        "if name == CHECK:",
        ("unit/test_daemon.py",),
    ),
    Mutant(
        "the daemon is not watched while it sleeps",
        "daemon/main.py",
        '_ASLEEP = "WATCHDOG_USEC=0"',
        '_ASLEEP = "WATCHDOG_USEC=60000000"',
        ("unit/test_daemon.py",),
    ),
    # Networks of which nobody says anything
    Mutant(
        "where no network stack starts at boot, systemd-networkd is enabled",
        "desired/network/without_stack.py",
        """return stack == "networkd" or (not stack and ask.facts.idle == ("networkd",))""",
        "return False",
        ("unit/test_without_stack.py",),
    ),
    Mutant(
        "the boot waits for one of the NICs where it need not wait for any in particular",
        "desired/network/__init__.py",
        'words = ["--any", ',
        "words = [",
        ("unit/test_network_plan.py",),
    ),
    Mutant(
        "a NIC that no document names gets DHCP",
        "desired/network/__init__.py",
        "if named or nic.member or ",
        "if True or nic.member or ",
        ("unit/test_network_plan.py",),
    ),
    Mutant(
        "a NIC of a file that interfaces(5) sources is the image's",
        "facts/interfaces.py",
        """if first in ("source", "source-directory"):""",
        "if False:",
        ("unit/test_stack_in_use.py",),
    ),
    Mutant(
        "what the image says of a NIC that no document names has precedence",
        "stacks/networkd/render.py",
        "if interface.unnamed:",
        "if False:",
        ("unit/test_network_plan.py",),
    ),
    Mutant(
        "an MTU of the source wins over that of a lease, with ifupdown too",
        "stacks/ifupdown/render.py",
        """dhclient += f" -cf {path}\"""",
        "pass",
        ("unit/test_ifupdown.py",),
    ),
    # The end of the boot
    Mutant(
        "the report of an earlier boot is none of this one",
        "report/run.py",
        'return found if read_boot_id(root) in (found["boot_id"], "") else {}',
        "return found",
        ("unit/test_status.py",),
    ),
    Mutant(
        "a run at boot says which units are to come",
        "report/run.py",
        "for unit, comes in found.items() if comes",
        "for unit, comes in found.items() if False",
        ("unit/test_status.py",),
    ),
    Mutant(
        "a run by hand keeps the units that are to come",
        "report/run.py",
        "if report.pending is None:",
        "if False:",
        ("unit/test_status.py",),
    ),
    Mutant(
        "a unit that an error ends is not waited for any more",
        "report/additions.py",
        'problems = [Origin("guestagent", self.name, "").error(reason)] if kind else []',
        "problems = []\n        if kind:\n            return",
        ("unit/test_status.py",),
    ),
    Mutant(
        "what follows a run that was killed does not hide that",
        "report/additions.py",
        "pending=(defs.LOCAL_UNIT,)",
        "pending=()",
        ("unit/test_status.py",),
    ),
    Mutant(
        "a unit that was killed or masked is not waited for",
        "live/boot.py",
        "if said is None:\n        return True",
        "if True:\n        return True",
        ("unit/test_status.py",),
    ),
    Mutant(
        "while the report stays as it is, waiting starts no process",
        "live/boot.py",
        "and _signature(root) == seen",
        "and not seen",
        ("unit/test_status.py",),
    ),
    Mutant(
        "a unit that ends between two looks has not died",
        "live/boot.py",
        "if read(root) == report:",
        "if True:",
        ("unit/test_status.py",),
    ),
    Mutant(
        "who waits for cloud-init's files waits until the last unit is over",
        "report/cloud_init.py",
        "    if words.stage:\n        ownfiles",
        "    if False:\n        ownfiles",
        ("unit/test_cloud_init.py",),
    ),
    Mutant(
        "at the start of a boot the files of the one before are gone",
        "report/cloud_init.py",
        "_try(path, ownfiles.remove, root, path)\n    # stat(1)",
        "pass\n    # stat(1)",
        ("unit/test_cloud_init.py",),
    ),
    Mutant(
        "cloud-init's own files are left to it where it is installed",
        "report/cloud_init.py",
        "wanted = wanted and not _has_cloud_init(root)",
        "pass",
        ("unit/test_cloud_init.py",),
    ),
    Mutant(
        "a setting switches the files for those who know only cloud-init off",
        "verbs/apply.py",
        "prepare(root, wanted=settings.cloud_init_files)",
        "prepare(root, wanted=True)",
        ("unit/test_cloud_init.py",),
    ),
    Mutant(
        "cloud-init status tells errors from those that it calls recoverable",
        "report/cloud_init.py",
        "if not reasons and not failed and ",
        "if ",
        ("unit/test_cloud_init.py",),
    ),
    Mutant(
        "a session of sshd is not taken for the sshd that listens",
        "live/observe.py",
        """if names.get(parents[item.pid]) != "sshd\"""",
        "if True",
        ("unit/test_observe.py",),
    ),
    Mutant(
        "validate says what a document takes away",
        "verbs/validate.py",
        "if resource.key not in keys]",
        "if False]",
        ("userdata/test_validate.py::test_what_a_document_takes_away_is_told",),
    ),
    Mutant(
        "validate knows the documents of metadata by their names",
        "verbs/validate.py",
        'if name.rpartition("/")[2] in METADATA_DOCUMENTS:',
        "if False:",
        ("userdata/test_validate.py::TestMetadata",),
    ),
    Mutant(
        "user data that are nearly ours, or another's, are named",
        "parse/userdata/part_types.py",
        'return _near_miss(content) or "beginning"',
        'return "beginning"',
        ("userdata/test_split_parts.py",),
    ),
    Mutant(
        "status shows a terminal nothing that drives it",
        "verbs/status.py",
        "{log.printable(f'{mount.device} on {mount.path} ({mount.type})')}",
        "{mount.device} on {mount.path} ({mount.type})",
        ("unit/test_observe.py",),
    ),
)


def main(words: list[str]) -> int:
    """Try the mutants, and print what becomes of each; return the exit status."""
    chosen = [item for item in MUTANTS if not words or any(w in item.behaviour for w in words)]
    if not chosen:
        print("no behaviour has such a name")
        return 1
    tests = dict.fromkeys(test for item in chosen for test in item.tests)
    status, output = _run_changed(None, tests)
    if status != _PASSED:
        print(f"{output}these tests must pass before a behaviour is taken away")
        return 1
    verdicts = [_try(item) for item in chosen]
    caught = verdicts.count("caught")
    print(f"{caught} of {len(chosen)} caught")
    return 0 if caught == len(chosen) else 1


def _try(mutant: Mutant) -> str:
    """Run a mutant's tests without its behaviour; print and return what became of it."""
    count = (PROJECT / "guestagent" / mutant.file).read_text().count(mutant.old)
    if count != 1:
        verdict = f"ERROR: its text is in {mutant.file} {count} times"
    else:
        status, output = _run_changed(mutant, mutant.tests)
        verdict = {_PASSED: "NOT CAUGHT", _FAILED: "caught"}.get(status, f"ERROR:\n{output}")
    print(f"{mutant.behaviour}: {verdict}", flush=True)
    return verdict


def _run_changed(mutant: Mutant | None, tests: Iterable[str]) -> tuple[int, str]:
    """Run tests in a copy of the tree; return pytest's exit status and its output."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy = Path(folder)
        copy.chmod(0o755)  # some tests run the agent as another user
        _copy_tree(copy)
        if mutant:
            file = copy / "guestagent" / mutant.file
            file.write_text(file.read_text().replace(mutant.old, mutant.new))
        options = ("-p", "no:cacheprovider", "-q", "-x", "--no-header", "--tb=short")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *(f"tests/{test}" for test in tests)],
            # A test that cannot run here must not look like one that fails or passes.
            env={**os.environ, "GUESTAGENT_REQUIRE_ALL": "1", "PYTHONDONTWRITEBYTECODE": "1"},
            cwd=copy,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=1200,
        )
    return done.returncode, done.stdout


def _copy_tree(target: Path) -> None:
    """Copy what git has, or would have, of this tree."""
    listing = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    names = subprocess.run(listing, cwd=PROJECT, check=True, capture_output=True, text=True)
    for name in names.stdout.split("\0"):
        source = PROJECT / name
        if name and os.path.lexists(source):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name, follow_symlinks=False)
    # Some tools of the tests are installed there.
    (target / ".venv").symlink_to(PROJECT / ".venv")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
