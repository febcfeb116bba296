"""The audit log: what a line tells and keeps to itself, and that no line is lost to threads, rotation, kills or a full disk."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dopq.access import calls
from dopq.audit import FILES, LONGEST_TEXT, MOST_ITEMS, TOLD, AuditLog, Entry, full_files
from dopq.audit_trail import Damaged, read_audit
from dopq.caller import LOCAL, Caller
from dopq.cli import main
from dopq.controller import DopqController
from dopq.errors import NotFound, OperatorError
from dopq.job import UserName
from dopq.users import Role, User
from dopq.wire import Plain
from tests.access_table import parameters
from tests.fakes import FakeClock
from tests.hostile_text import HOSTILE, shows_only_itself

CLOCK = FakeClock()
ANNA = Caller(User(UserName("anna"), Role.USER, 1.0, None, CLOCK.now()), "192.0.2.7", token="t0ken")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def lines(path: Path) -> list[Plain]:
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]


def entries(path: Path) -> list[Entry]:
    return [entry for entry in read_audit(path) if isinstance(entry, Entry)]


# --- what a line tells ---


def test_a_line_tells_when_who_from_where_what_and_the_result(path: Path) -> None:
    AuditLog(path, FakeClock()).record(ANNA, "cancel_job", {"reference": "17"}, "not_allowed")
    assert lines(path) == [
        {
            "at": "2026-01-05T09:00:00.000Z",
            "user": "anna",
            "peer": None,
            "uid": None,
            "from": "192.0.2.7",
            "method": "cancel_job",
            "what": {"reference": "17"},
            "result": "not_allowed",
        }
    ]


def test_the_log_is_for_the_service_alone(path: Path) -> None:
    AuditLog(path, CLOCK).record(ANNA, "hold_job", {}, "ok")
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_peer_and_a_stranger_are_told_as_such(path: Path) -> None:
    log = AuditLog(path, CLOCK)
    log.record(Caller(None, "192.0.2.8", peer="gpu2"), "submit", {}, "ok")
    log.record(Caller(None, "192.0.2.9"), "register", {"name": "cleo"}, "ok")
    assert [(line["user"], line["peer"], line["from"]) for line in lines(path)] == [
        (None, "gpu2", "192.0.2.8"),
        (None, None, "192.0.2.9"),
    ]


def test_no_secret_no_data_and_no_token_is_ever_written(path: Path) -> None:
    secret = "s3cr3t"
    arguments: dict[str, object] = dict.fromkeys(
        ("password", "token", "key", "data", "invite", "sha256", "public_key", "email", "environment"), secret
    )
    AuditLog(path, CLOCK).record(ANNA, "submit", arguments | {"bundle": b"s3cr3t", "name": {"a": secret}}, "ok")
    assert secret not in path.read_text()
    assert "t0ken" not in path.read_text()
    assert lines(path)[0]["what"] == {"bundle": "bytes", "name": "dict"}


@pytest.mark.parametrize("method", ["login", "register"])
def test_a_name_that_was_refused_is_told_only_where_it_is_a_users(path: Path, method: str) -> None:
    log = AuditLog(path, CLOCK, is_registered="anna".__eq__)
    for name in ("my-Secret-passw0rd", "my-secret-passw0rd", "anna"):
        log.record(Caller(None, "192.0.2.9"), method, {"name": name}, "login_refused")
    assert [line["what"] for line in lines(path)] == [{}, {}, {"name": "anna"}]


def test_a_name_is_not_told_while_nobody_can_say_whose_it_is(path: Path) -> None:
    def away(_name: str) -> bool:
        raise OperatorError("The state file cannot be used at present.")

    AuditLog(path, CLOCK, is_registered=away).record(ANNA, "login", {"name": "anna"}, "operator")
    assert lines(path)[0]["what"] == {}


KEPT_BACK = {"key", "sha256", "password", "old", "new", "invite", "email", "ssh_key"}
"""Arguments of changing calls that no line tells: whoever adds one decides here."""


def test_each_argument_of_a_changing_call_is_told_or_kept_back_on_purpose() -> None:
    changing = [name for name, call in calls(DopqController).items() if call.changes]
    arguments = {argument for name in changing for argument in parameters(name)}
    assert arguments - TOLD <= KEPT_BACK


@pytest.mark.parametrize("text", [*HOSTILE.values(), "x" * 10**6])
def test_whatever_an_argument_holds_it_is_one_short_line(path: Path, text: str) -> None:
    nested: object = text
    for _ in range(5000):
        nested = [nested]
    what = {"reference": text, "references": [text] * 1000, "name": nested, "reason": float("nan"), "bundle": 2**63}
    AuditLog(path, CLOCK).record(ANNA, "cancel_job", what, "ok")
    (line,) = path.read_bytes().splitlines()
    assert line.isascii()
    assert len(line) < 32 * 1024
    (entry,) = entries(path)
    assert len(entry.what["references"]) == MOST_ITEMS + 1
    assert entry.what["reference"][:LONGEST_TEXT] == text[:LONGEST_TEXT]


def test_a_command_on_the_machine_is_told_with_its_uid_and_how_it_ended(path: Path) -> None:
    log = AuditLog(path, CLOCK)
    with log.command("dopq user add", name="cleo", token="t0ken"):
        pass
    with pytest.raises(NotFound), log.command("dopq user remove", name="cleo"):
        raise NotFound("There is no user.")
    with pytest.raises(KeyError), log.command("dopq user role", name="cleo"):
        raise KeyError
    assert [(line["uid"], line["from"], line["method"], line["result"]) for line in lines(path)] == [
        (os.getuid(), LOCAL, "dopq user add", "ok"),
        (os.getuid(), LOCAL, "dopq user remove", "not_found"),
        (os.getuid(), LOCAL, "dopq user role", "internal"),
    ]
    assert "t0ken" not in path.read_text()


# --- rotation ---


def test_the_newest_files_are_kept_and_read_in_order(path: Path) -> None:
    log = AuditLog(path, CLOCK, file_bytes=1000)
    for number in range(200):
        log.record(ANNA, "cancel_job", {"reference": str(number)}, "ok")
    assert len(full_files(path)) == FILES - 1
    assert all(file.stat().st_size <= 1000 for file in [path, *full_files(path)])
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in path.parent.iterdir())
    kept = [int(entry.what["reference"]) for entry in entries(path)]
    assert kept == list(range(kept[0], 200))
    assert len(kept) > 40


def test_a_rotation_that_was_killed_before_it_let_go_is_made_up_for_by_the_next(path: Path) -> None:
    for number in range(1, 15):
        path.with_name(f"audit-{number:06}.jsonl").write_text("{}\n")
    (path.parent / "audit-notes.jsonl").write_text("somebody's own")
    log = AuditLog(path, CLOCK, file_bytes=1)
    for _ in range(2):
        log.record(ANNA, "hold_job", {}, "ok")
    assert [file.name for file in full_files(path)] == [f"audit-{number:06}.jsonl" for number in range(7, 16)]
    assert (path.parent / "audit-notes.jsonl").exists()


WRITER = """
import sys
from pathlib import Path
from dopq.audit import AuditLog
from dopq.utils.clock import SystemClock
log = AuditLog(Path(sys.argv[1]), SystemClock(), file_bytes=int(sys.argv[2]))
for number in range(int(sys.argv[4])):
    with log.command(sys.argv[3], name=str(number)):
        pass
    print(number, flush=True)
"""


def start(path: Path, file_bytes: int, who: str, count: int) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", WRITER, str(path), str(file_bytes), who, str(count)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def test_threads_and_processes_write_and_rotate_at_once_and_no_line_is_lost_or_torn(path: Path) -> None:
    writers = [start(path, 10_000, who, 100) for who in "ab"]
    log = AuditLog(path, CLOCK, file_bytes=10_000)

    def write(who: str) -> None:
        for number in range(50):
            log.record(ANNA, who, {"name": str(number)}, "ok")

    threads = [threading.Thread(target=write, args=(who,)) for who in "cdef"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    told = list(read_audit(path))
    assert all(isinstance(line, Entry) for line in told)
    for who, count in {**dict.fromkeys("ab", 100), **dict.fromkeys("cdef", 50)}.items():
        names = [entry.what["name"] for entry in told if isinstance(entry, Entry) and entry.method == who]
        assert sorted(names, key=int) == [str(number) for number in range(count)]
    assert len(full_files(path)) >= 4


def test_what_was_told_before_a_kill_is_there_once_and_the_next_life_goes_on(path: Path) -> None:
    """Killed while it writes and rotates as fast as it can, eight lives long."""
    promised: dict[str, int] = {}
    for life in range(8):
        writer = start(path, 3_000, f"life{life}", 10_000)
        assert writer.stdout
        for _ in range(12 + life):
            last = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        rest = writer.communicate(timeout=60)[0].split()
        promised[f"life{life}"] = int(rest[-1]) if rest else last
    kept = [(entry.method, int(entry.what["name"])) for entry in entries(path)]
    assert len(kept) == len(set(kept))
    last_life = [number for life, number in kept if life == "life7"]
    assert last_life == list(range(last_life[0], last_life[-1] + 1))
    assert last_life[-1] >= promised["life7"]
    assert len(full_files(path)) <= FILES


def test_while_somebody_else_rotates_nobody_waits_and_nobody_rotates_a_second_time(path: Path) -> None:
    log = AuditLog(path, CLOCK, file_bytes=1)
    log.record(ANNA, "hold_job", {}, "ok")
    with path.with_suffix(".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        log.record(ANNA, "hold_job", {}, "ok")
    assert full_files(path) == []
    assert len(lines(path)) == 2


def test_a_file_that_is_rotated_while_the_log_is_opened_is_read_once(path: Path) -> None:
    AuditLog(path, CLOCK).record(ANNA, "hold_job", {}, "ok")
    path.with_name("audit-000001.jsonl").hardlink_to(path)  # the same file under both names: just that moment
    assert len(entries(path)) == 1


def test_a_log_that_is_rotated_while_it_is_read_is_read_whole_and_once(path: Path) -> None:
    log = AuditLog(path, CLOCK, file_bytes=1000)
    for number in range(8):
        log.record(ANNA, "hold_job", {"reference": str(number)}, "ok")
    reading = read_audit(path)
    told = [next(reading)]
    for number in range(8, 100):
        log.record(ANNA, "hold_job", {"reference": str(number)}, "ok")
    told += reading
    numbers = [int(entry.what["reference"]) for entry in told if isinstance(entry, Entry)]
    assert numbers == sorted(set(numbers))
    assert numbers[:2] == [0, 1]


# --- damage ---


def test_half_a_line_does_not_spoil_the_next_one_and_is_told(path: Path) -> None:
    log = AuditLog(path, CLOCK)
    log.record(ANNA, "hold_job", {"reference": "1"}, "ok")
    with path.open("ab") as file:
        file.write(b'{"at": "2026-01-05T09:0')
    log.record(ANNA, "release_job", {"reference": "1"}, "ok")
    told = list(read_audit(path))
    assert [line.method if isinstance(line, Entry) else line for line in told] == [
        "hold_job",
        Damaged(path, 2),
        "release_job",
    ]


@pytest.mark.parametrize(
    "damage",
    [b"\xff\xfe\n", b"null\n", b"[]\n", b"{}\n", b"5\n", b"\0" * 4096 + b"\n", b"[" * 50_000 + b"\n", b"x" * 200_000 + b"\n",
     b'{"at": "yesterday"}\n', b'{"at": "2026-01-05T09:00:00", "user": null, "peer": null, "uid": null, "from": "a", "method": "b", "what": {}, "result": "ok"}\n'],
)  # fmt: skip
def test_a_line_that_is_no_entry_is_passed_over_and_told(path: Path, damage: bytes) -> None:
    log = AuditLog(path, CLOCK)
    log.record(ANNA, "hold_job", {}, "ok")
    with path.open("ab") as file:
        file.write(damage)
    log.record(ANNA, "hold_job", {}, "ok")
    told = list(read_audit(path))
    assert [isinstance(told[number], Entry) for number in (0, -1)] == [True, True]
    assert all(isinstance(line, Damaged) for line in told[1:-1])
    assert len(told) > 2


def test_on_a_full_disk_the_call_goes_on_and_the_line_is_in_the_services_log(path: Path) -> None:
    """The limit on the size of files stands for the disk; what it takes of the line is half a line."""
    script = """
import resource, sys
from pathlib import Path
from dopq.audit import AuditLog
from dopq.utils import log
from dopq.utils.clock import SystemClock
log.setup()
audit = AuditLog(Path(sys.argv[1]), SystemClock())
for size in (300, resource.RLIM_INFINITY):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    for number in range(2):
        with audit.command("dopq user add", name=f"cleo{number}"):
            pass
        print(audit.trouble)
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == [
        "None",
        "The audit log cannot be written",
        "None",
        "None",
    ]
    assert done.stderr.count("audit_line_not_written") == 1
    assert "cleo1" in done.stderr
    assert [line.what["name"] if isinstance(line, Entry) else None for line in read_audit(path)] == [
        "cleo0",
        None,
        "cleo0",
        "cleo1",
    ]


def test_a_link_in_its_place_is_not_followed(path: Path) -> None:
    path.symlink_to(path.parent / "elsewhere")
    log = AuditLog(path, CLOCK)
    log.record(ANNA, "hold_job", {}, "ok")
    assert log.trouble
    assert not (path.parent / "elsewhere").exists()


# --- dopq audit log ---

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    (tmp_path / "config.toml").write_text("")
    (tmp_path / "state").mkdir()
    return lambda *words: CliRunner().invoke(main, ["audit", "log", "--config", str(tmp_path / "config.toml"), *words])


@pytest.fixture
def told(run: Run, tmp_path: Path) -> Path:
    from dopq.config import load

    path = load(tmp_path / "config.toml")[1].audit
    path.parent.mkdir(exist_ok=True)
    clock = FakeClock()
    log = AuditLog(path, clock, file_bytes=500)
    log.record(ANNA, "cancel_job", {"reference": "1"}, "ok")
    log.record(Caller(None, "192.0.2.8", peer="gpu2"), "cancel_job", {"reference": "2"}, "not_allowed")
    with log.command("dopq user add", name="cleo"):
        pass
    return path


def test_all_is_shown_over_all_files(run: Run, told: Path) -> None:
    assert len(full_files(told)) == 1
    shown = run()
    assert shown.exit_code == 0
    assert [" ".join(line.split()) for line in shown.stdout.splitlines()] == [
        "2026-01-05T09:00:00.000Z anna 192.0.2.7 ok cancel_job reference='1'",
        "2026-01-05T09:00:00.000Z peer gpu2 192.0.2.8 not_allowed cancel_job reference='2'",
        f"2026-01-05T09:00:00.000Z uid {os.getuid()} local ok dopq user add name='cleo'",
    ]


@pytest.mark.parametrize(
    ("options", "methods"),
    [
        (("--user", "anna"), ["cancel_job"]),
        (("--failed",), ["cancel_job"]),
        (("--method", "dopq user add"), ["dopq user add"]),
        (("-n", "2"), ["cancel_job", "dopq user add"]),
        (("--since", "2d"), []),
        (("--since", "99999d"), ["cancel_job", "cancel_job", "dopq user add"]),
    ],
)
def test_only_what_is_asked_for_is_shown(run: Run, told: Path, options: tuple[str, ...], methods: list[str]) -> None:
    answer = json.loads(run("--json", *options).stdout)
    assert [entry["method"] for entry in answer["entries"]] == methods
    assert answer["damaged"] == 0


def test_damage_is_told_beside_what_is_whole(run: Run, told: Path) -> None:
    with told.open("ab") as file:
        file.write(b"half a li")
    shown = run()
    assert shown.stdout.count("\n") == 3
    assert f"Passed over 1 damaged in {told}" in shown.stderr
    assert json.loads(run("--json").stdout)["damaged"] == 1


def test_a_log_that_there_is_not_yet_is_empty(run: Run) -> None:
    assert run().stdout == "Nothing of that kind is recorded.\n"


@pytest.mark.parametrize("text", list(HOSTILE.values()), ids=list(HOSTILE))
def test_hostile_text_in_the_log_is_harmless_on_the_screen(run: Run, told: Path, text: str) -> None:
    AuditLog(told, CLOCK).record(Caller(None, text, peer=text), text, {"reference": text}, text)
    shown = run()
    assert shows_only_itself(shown.stdout)
    assert shown.stdout.count("\n") == 4
