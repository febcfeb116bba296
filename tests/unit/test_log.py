"""Log lines: what they look like, and that nothing in a field can break them."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dopq.utils import log

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.fixture(autouse=True)
def root_logger_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


def written(event: str, *, json_lines: bool = False, **fields: object) -> str:
    stream = io.StringIO()
    log.setup("DEBUG", json_lines=json_lines, stream=stream)
    log.logger("dopq.scheduler").info(event, **fields)
    return stream.getvalue()


def after_the_time(line: str) -> str:
    match = re.fullmatch(TIME + r" (.*)\n", line)
    assert match, line
    return match[1]


def test_a_line_says_when_how_bad_where_what_and_its_fields() -> None:
    line = written("job_started", job=3, user="alice", cause="its turn")
    assert after_the_time(line) == 'INFO dopq.scheduler job_started job=3 user=alice cause="its turn"'


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "null"),
        (True, "true"),
        (0.25, "0.25"),
        (float("nan"), "nan"),
        ("", '""'),
        ("a=b", '"a=b"'),
        ('say "hi"', r'"say \"hi\""'),
        ("C:\\x", r'"C:\\x"'),
        ("two\nlines", r'"two\nlines"'),
        ("\x1b[31mred", r'"\u{1b}[31mred"'),
        ("\u202egnp.exe", r'"\u{202e}gnp.exe"'),
        ("\udcff", r'"\u{dcff}"'),
        ("Grüße", "Grüße"),
        (Path("/share/inbox"), "/share/inbox"),
        (("GPU-a", "GPU-b"), "GPU-a,GPU-b"),
        (frozenset({"b", "a"}), "a,b"),
        (datetime(2026, 3, 1, 10, 30, tzinfo=timezone(timedelta(hours=1))), "2026-03-01T09:30:00.000Z"),
        (ValueError("bad"), "bad"),
    ],
)
def test_a_value_is_shown_plainly_and_quoted_where_it_must_be(value: object, shown: str) -> None:
    assert after_the_time(written("event", field=value)) == f"INFO dopq.scheduler event field={shown}"


@given(st.text())
def test_whatever_a_field_holds_the_record_stays_one_printable_line(text: str) -> None:
    line = written("event", field=text, next="intact")
    assert line.removesuffix("\n").isprintable()
    assert line.endswith(" next=intact\n")


@given(st.text(), st.text())
def test_different_values_never_look_the_same(one: str, other: str) -> None:
    lines = {after_the_time(written("event", field=value)) for value in (one, other)}
    assert len(lines) == len({one, other})


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_json_line_gives_back_the_value_and_is_plain_ascii(text: str) -> None:
    line = written("event", json_lines=True, field=text)
    assert line.count("\n") == 1
    assert line.isascii()
    assert json.loads(line)["field"] == text


def test_a_json_line_keeps_numbers_and_nulls_and_its_own_four_names() -> None:
    record = json.loads(written("job_started", json_lines=True, job=3, exit_code=None, time="forged"))
    assert re.fullmatch(TIME, record.pop("time"))
    assert record == {
        "level": "INFO",
        "logger": "dopq.scheduler",
        "event": "job_started",
        "job": 3,
        "exit_code": None,
    }


def test_a_figure_that_json_cannot_say_is_text() -> None:
    assert json.loads(written("event", json_lines=True, field=float("inf")))["field"] == "inf"


@pytest.mark.parametrize("json_lines", [False, True])
def test_of_an_environment_only_the_names_are_written(json_lines: bool) -> None:
    line = written("created", json_lines=json_lines, environment={"API_KEY": "s3cret"}, nested=[{"TOKEN": "s3cret"}])
    assert "API_KEY" in line
    assert "TOKEN" in line
    assert "s3cret" not in line


def test_an_exception_stays_on_the_line_of_its_event() -> None:
    stream = io.StringIO()
    log.setup(stream=stream)
    try:
        int("no\nluck")
    except ValueError:
        log.logger("dopq").exception("loop_failed", loop="scheduler")
    line = after_the_time(stream.getvalue())
    assert line.startswith(r'ERROR dopq loop_failed loop=scheduler error="ValueError: invalid literal')
    assert r'traceback="Traceback (most recent call last):\n' in line


def test_a_librarys_own_message_is_told_apart_from_our_events() -> None:
    stream = io.StringIO()
    log.setup(stream=stream)
    logging.getLogger("urllib3").warning("Retrying %s\n%s", "/ping", "INFO dopq job_started job=1")
    said = r'WARNING urllib3 message text="Retrying /ping\nINFO dopq job_started job=1"'
    assert after_the_time(stream.getvalue()) == said


def test_only_events_of_the_level_and_above_are_written() -> None:
    stream = io.StringIO()
    log.setup("WARNING", stream=stream)
    source = log.logger("dopq")
    for speak in (source.debug, source.info, source.warning, source.error):
        speak("event")
    assert [line.split()[1] for line in stream.getvalue().splitlines()] == ["WARNING", "ERROR"]


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="LOUD"):
        log.setup("LOUD")


def test_setting_up_again_replaces_the_first() -> None:
    first, second = io.StringIO(), io.StringIO()
    log.setup(stream=first)
    log.setup(stream=second)
    log.logger("dopq").info("event")
    assert first.getvalue() == ""
    assert second.getvalue().count("\n") == 1


def test_lines_of_several_processes_do_not_mix(tmp_path: Path) -> None:
    script = (
        "import sys; from dopq.utils import log\n"
        "log.setup(stream=sys.stdout)\n"
        "for number in range(300): log.logger('dopq').info('event', who=sys.argv[1] * 1000)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with (tmp_path / "log").open("ab") as file:
        command = [sys.executable, "-c", script]
        writers = [subprocess.Popen([*command, letter], stdout=file, env=environment) for letter in "abc"]
        assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    lines = (tmp_path / "log").read_text().splitlines()
    assert len(lines) == 900
    assert {after_the_time(line + "\n") for line in lines} == {
        f"INFO dopq event who={letter * 1000}" for letter in "abc"
    }


def test_a_full_disk_does_not_stop_the_service(capfd: pytest.CaptureFixture[str]) -> None:
    with Path("/dev/full").open("w") as stream:
        log.setup(stream=stream)
        log.logger("dopq").info("event")
    assert "No space left" in capfd.readouterr().err
