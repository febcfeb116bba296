"""The gate as it is: real processes and real limits."""

from __future__ import annotations

import gzip
import json
import os
import signal
import stat
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from dopq.container_handler.bundle import Prepared
from dopq.container_handler.container_config import SpecDefaults
from dopq.container_handler.gate import Gate, _moved_in
from dopq.container_handler.gate_messages import GateLimits, Passed
from dopq.container_handler.gate_tries import MOST_DEATHS, MOST_TRIES, GateTries
from dopq.container_handler.refusal import problems_of
from dopq.container_handler.rules import Rules
from dopq.container_handler.template import Templates
from dopq.errors import BadConfig, BuildFailed, BundleRejected, InvariantBroken
from dopq.job import JobSpec
from tests.bundles import DOCKERFILE, zip_of
from tests.waiting import wait_until

RULES = Rules(SpecDefaults(gpus=0, max_time_limit_s=86400))
DEADLY = "bundle: whoever looks at it dies of it. Pack the bundle again, and tell your admin."


@pytest.fixture(scope="module")
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.close()


@contextmanager
def gate_with(**limits: float) -> Iterator[Gate]:
    gate = Gate(GateLimits(**limits))  # type: ignore[arg-type]
    try:
        yield gate
    finally:
        gate.close()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    files = {"Dockerfile": DOCKERFILE, "job.toml": 'name = "x"', "input/a/b.csv": "1"}
    return zip_of(tmp_path / "bundle.zip", files)


@pytest.fixture
def slow_bundle(tmp_path: Path) -> Path:
    """One that takes seconds to unpack."""
    path = tmp_path / "slow.tar.gz"
    path.write_bytes(gzip.compress(bytes(2**26)) * 160)
    return path


def take(gate: Gate, bundle: Path, *, rules: Rules = RULES, cancelled: threading.Event | None = None) -> Prepared:
    return gate.prepare(
        bundle,
        bundle.parent / "work",
        bundle_name=bundle.name,
        default_name="b",
        user="ada",
        rules=rules,
        labels={},
        cancelled=cancelled,
    )


def refused(gate: Gate, bundle: Path) -> list[str]:
    with pytest.raises(BundleRejected) as caught:
        take(gate, bundle)
    assert sorted((bundle.parent / "work").iterdir()) == []
    return [str(problem) for problem in problems_of(caught.value)]


def gate_process(gate: Gate) -> psutil.Process:
    process = gate._link._process
    assert process is not None
    return psutil.Process(process.pid)


@contextmanager
def killing_children(gate: Gate, times: int) -> Iterator[None]:
    """Kill whoever looks at a bundle, so many times."""

    def kill() -> None:
        seen: set[int] = set()

        def killed() -> bool:
            with suppress(psutil.NoSuchProcess, AssertionError):
                for child in gate_process(gate).children():
                    if child.pid not in seen and child.status() != psutil.STATUS_ZOMBIE:
                        child.kill()
                        seen.add(child.pid)
            return len(seen) >= times

        wait_until(killed, 20.0)

    killer = threading.Thread(target=kill)
    killer.start()
    yield
    killer.join()


# --- what comes through ---------------------------------------------------------------------------------------------


def test_a_good_bundle_comes_through_as_our_own_files(gate: Gate, bundle: Path) -> None:
    prepared = take(gate, bundle)
    work = bundle.parent / "work"
    assert prepared.spec == JobSpec(name="x")
    assert prepared.context == work / "context.tar"
    assert prepared.context.stat().st_uid == os.geteuid()
    with tarfile.open(prepared.context) as tar:
        assert tar.getnames() == ["Dockerfile", "job.toml"]
    assert prepared.input == work / "input"
    assert (prepared.input / "a" / "b.csv").read_text() == "1"
    assert stat.S_IMODE((prepared.input / "a" / "b.csv").stat().st_mode) == 0o644
    assert {path.name for path in work.iterdir()} == {"context.tar", "input"}


def test_a_second_look_replaces_what_the_first_one_left(gate: Gate, bundle: Path) -> None:
    take(gate, bundle)
    zip_of(bundle, {"Dockerfile": DOCKERFILE})
    prepared = take(gate, bundle)
    assert prepared.input is None
    assert {path.name for path in (bundle.parent / "work").iterdir()} == {"context.tar"}


def test_what_a_killed_provider_left_is_in_nobodys_way(gate: Gate, bundle: Path) -> None:
    room = bundle.parent / "work" / "room"
    (room / "input").mkdir(parents=True)
    (room / "context.tar").symlink_to("/etc/passwd")
    take(gate, bundle)
    assert not room.exists()


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_tars_come_through(gate: Gate, tmp_path: Path, mode: str) -> None:
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    path = tmp_path / ("bundle.tar.gz" if mode == "w:gz" else "bundle.tar")
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        tar.add(tmp_path / "Dockerfile", "Dockerfile")
    assert take(gate, path).spec.name == "b"


def test_a_project_gets_its_template(gate: Gate, tmp_path: Path) -> None:
    folder = tmp_path / "templates"
    (folder / "python").mkdir(parents=True)
    (folder / "python" / "Dockerfile").write_text("FROM $base\nCMD python $entry # the admin's own\n")
    rules = Rules(RULES.defaults, templates=Templates(folder=folder))
    prepared = take(gate, zip_of(tmp_path / "b.zip", {"main.py": "", "requirements.txt": "x"}), rules=rules)
    assert b"the admin's own" in prepared.context.read_bytes()


@pytest.mark.parametrize("text", ["FROM $nobody_knows\n", b"\xff"])
def test_a_broken_template_is_the_admins_to_mend(gate: Gate, tmp_path: Path, text: str | bytes) -> None:
    template = tmp_path / "templates" / "python" / "Dockerfile"
    template.parent.mkdir(parents=True)
    template.write_bytes(text.encode() if isinstance(text, str) else text)
    rules = Rules(RULES.defaults, templates=Templates(folder=tmp_path / "templates"))
    with pytest.raises(BadConfig, match="cannot be used"):
        take(gate, zip_of(tmp_path / "b.zip", {"main.py": ""}), rules=rules)


def test_a_refusal_comes_with_every_problem(gate: Gate, tmp_path: Path) -> None:
    problems = refused(
        gate, zip_of(tmp_path / "b.zip", {"job.toml": "gpus = 1.5\nfoo = 1", "\u00fc.txt": "", "../x": ""})
    )
    assert len(problems) == 3


def test_a_half_copied_file_is_told_from_a_whole_one(gate: Gate, bundle: Path, tmp_path: Path) -> None:
    half = tmp_path / "half.zip"
    half.write_bytes(bundle.read_bytes()[:-30])
    with bundle.open("rb") as whole_file, half.open("rb") as half_file:
        assert gate.is_whole(whole_file, "bundle.zip", RULES)
        assert not gate.is_whole(half_file, "half.zip", RULES)


# --- what takes too much --------------------------------------------------------------------------------------------


def test_a_bundle_that_takes_too_much_computing_is_refused(slow_bundle: Path) -> None:
    with gate_with(cpu_s=1) as gate:
        assert refused(gate, slow_bundle) == [
            "bundle: it took more than 1 s to check. Put fewer or smaller files into it."
        ]


def test_a_bundle_that_takes_too_long_is_refused_and_its_process_killed(slow_bundle: Path) -> None:
    with gate_with(wall_s=0.2) as gate:
        [problem] = refused(gate, slow_bundle)
        assert problem.startswith("bundle: it took more than")
        assert all(child.status() == psutil.STATUS_ZOMBIE for child in gate_process(gate).children())


def test_a_bundle_that_takes_too_much_memory_is_refused(tmp_path: Path) -> None:
    bundle = zip_of(tmp_path / "b.zip", {"Dockerfile": DOCKERFILE, **{f"f{number}": "" for number in range(20_000)}})
    with gate_with(memory_bytes=2**20) as gate:
        assert refused(gate, bundle) == ["bundle: it took more than 1 MiB of memory to check. Put fewer files into it."]


def test_a_cancelled_look_ends_at_once(gate: Gate, slow_bundle: Path) -> None:
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(BuildFailed, match="broken off"):
        take(gate, slow_bundle, cancelled=cancelled)


# --- who dies -------------------------------------------------------------------------------------------------------


def test_a_bundle_that_kills_its_parser_three_times_is_refused(slow_bundle: Path) -> None:
    with gate_with() as gate, killing_children(gate, MOST_DEATHS), pytest.raises(BundleRejected) as caught:
        take(gate, slow_bundle)
    assert list(map(str, problems_of(caught.value))) == [DEADLY]


def test_a_look_that_died_once_is_repeated(bundle: Path, tmp_path: Path) -> None:
    files = {"Dockerfile": DOCKERFILE, "zeros": bytes(2**26)}
    with gate_with() as gate, killing_children(gate, 1):
        assert take(gate, zip_of(tmp_path / "b.zip", files)).spec.name == "b"


def test_deaths_are_counted_across_lives_of_the_provider(gate: Gate, bundle: Path) -> None:
    work = bundle.parent / "work"
    work.mkdir()
    for _ in range(MOST_DEATHS):
        tries = GateTries(work / "gate.json")
        tries.begin()
        tries.died()
    with pytest.raises(BundleRejected, match="dies of it"):
        take(gate, bundle)


def test_a_provider_that_dies_for_other_reasons_does_not_count_against_the_bundle(gate: Gate, bundle: Path) -> None:
    work = bundle.parent / "work"
    work.mkdir()
    for _ in range(MOST_DEATHS):
        GateTries(work / "gate.json").begin()
    assert take(gate, bundle).spec.name == "x"
    assert not (work / "gate.json").exists()
    for _ in range(MOST_TRIES):
        GateTries(work / "gate.json").begin()
    with pytest.raises(BundleRejected, match="dies of it"):
        take(gate, bundle)


def test_a_count_that_cannot_be_read_begins_anew(tmp_path: Path) -> None:
    file = tmp_path / "gate.json"
    for text in ("", "[1]", "{}", '["a", 2]'):
        file.write_text(text)
        assert not GateTries(file).exhausted


def test_the_gates_process_is_started_anew_when_it_has_gone(bundle: Path) -> None:
    with gate_with() as gate:
        take(gate, bundle)
        first = gate_process(gate)
        first.kill()
        first.wait(5.0)
        assert take(gate, bundle).spec.name == "x"
        assert gate_process(gate).pid != first.pid


def test_nothing_of_the_gate_outlives_a_killed_provider(slow_bundle: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from tests.unit.test_gate import *;"
        "gate = Gate(); take(gate, Path(sys.argv[1]))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen([sys.executable, "-c", script, str(slow_bundle)], env=environment) as provider:
        family = psutil.Process(provider.pid)
        wait_until(lambda: len(family.children(recursive=True)) == 2, 20.0)
        processes = family.children(recursive=True)
        provider.send_signal(signal.SIGKILL)
        wait_until(lambda: not any(_lives(process) for process in processes), 5.0)


def _lives(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


# --- a gate that was taken over -------------------------------------------------------------------------------------

GOOD = Passed(JobSpec(name="a"), is_image=False, has_input=True)


@pytest.fixture
def room(tmp_path: Path) -> Path:
    room = tmp_path / "work" / "room"
    (room / "input").mkdir(parents=True)
    (room / "context.tar").touch()
    return room


def test_what_the_gate_left_is_moved_in(room: Path) -> None:
    assert _moved_in(GOOD, room, room.parent).input == room.parent / "input"


@pytest.mark.parametrize("name", ["context.tar", "input"])
def test_a_link_in_place_of_what_the_gate_should_have_made_is_not_followed(room: Path, name: str) -> None:
    (room / "input").rmdir() if name == "input" else (room / "context.tar").unlink()
    (room / name).symlink_to("/etc" if name == "input" else "/etc/passwd")
    with pytest.raises(InvariantBroken):
        _moved_in(GOOD, room, room.parent)


@pytest.mark.parametrize("spec", [JobSpec(name="../../x"), JobSpec(name="a", environment=(("LD_PRELOAD", "x"),))])
def test_a_spec_that_cannot_be_is_not_believed(room: Path, spec: JobSpec) -> None:
    with pytest.raises(InvariantBroken):
        _moved_in(Passed(spec, is_image=False, has_input=True), room, room.parent)


def test_requests_and_answers_are_plain_json() -> None:
    from dopq.container_handler.gate_messages import ANSWER, REQUEST, Prepare

    request = Prepare("b.zip", "b", "ada", RULES, {"a": "b"}, GateLimits())
    assert REQUEST.validate_json(REQUEST.dump_json(request)) == request
    assert ANSWER.validate_json(ANSWER.dump_json(GOOD)) == GOOD
    assert json.loads(ANSWER.dump_json(GOOD))["kind"] == "passed"
