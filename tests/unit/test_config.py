"""Settings: the commented file and the classes say the same, every problem is told at once, comments survive changes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from dopq.config import NodeSettings, Paths, Settings, default_text, load, node_name, parse, with_changes
from dopq.errors import BadConfig

ROOT = Path(__file__).parents[2]


def defaults() -> dict[str, dict[str, Any]]:
    return Settings().model_dump()


def count_of_values(table: dict[str, Any]) -> int:
    """An empty table is a value, too: that of a key whose table an operator fills."""
    return sum(count_of_values(value) if isinstance(value, dict) and value else 1 for value in table.values())


# --- the file that an operator edits ---


def test_the_file_names_every_section_and_key_with_its_default() -> None:
    assert tomllib.loads(default_text()) == defaults()


def test_the_file_at_the_top_of_the_repository_is_that_file() -> None:
    assert (ROOT / "config.toml").read_text() == default_text()


def test_every_key_is_documented_on_its_line() -> None:
    keys = [line for line in default_text().splitlines() if re.match(r"\w+ = ", line)]
    assert len(keys) == count_of_values(defaults())
    for line in keys:
        assert len(line.partition("#")[2].strip()) > 10, f"what is this: {line}"


def test_every_key_with_a_unit_in_its_name_says_it_in_its_comment() -> None:
    for line in default_text().splitlines():
        name = line.partition(" = ")[0]
        if name.endswith("_s"):
            assert "second" in line, line
        if name.endswith("_bytes"):
            assert "bytes" in line, line


def test_a_file_with_nothing_in_it_is_all_defaults(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("")
    settings, paths = load(path)
    assert settings == Settings()
    assert paths.state == tmp_path / "state"


# --- refusals ---


def problems(table: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(BadConfig) as refused:
        parse(table, "config.toml")
    assert "config.toml" in refused.value.message
    return dict(refused.value.details["problems"])  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("table", "where", "near"),
    [
        ({"queu": {}}, "queu", "queue"),
        ({"queue": {"half_live_s": 5.0}}, "queue.half_live_s", "half_life_s"),
        ({"node": {"logjson": True}}, "node.logjson", "log_json"),
        ({"remote": {"nameserver_": 1}}, "remote.nameserver_", "nameserver"),
    ],
)
def test_an_unknown_key_names_the_nearest_known_one(table: dict[str, Any], where: str, near: str) -> None:
    assert problems(table) == {where: f"unknown key, did you mean '{near}'?"}


def test_an_unknown_key_that_is_near_to_none_is_told_without_a_guess() -> None:
    assert problems({"queue": {"zzzzzzzz": 1}}) == {"queue.zzzzzzzz": "unknown key"}


def test_all_problems_are_told_at_once() -> None:
    wrong = {
        "node": {"name": "Not A Name"},
        "queue": {"half_life_s": -1.0, "halflife": 1},
        "intake": {"poll_fast_s": 5.0},
    }
    assert problems(wrong).keys() == {"node.name", "queue.half_life_s", "queue.halflife", "intake.poll_fast_s"}


BEYOND = ["0.0.0.0", "192.168.1.5", "example.org", "::", "2001:db8::1", "127.0.0.1.evil.org", "127.1", "gpu_1"]


@pytest.mark.parametrize("host", BEYOND)
def test_beyond_this_machine_nothing_is_listened_on_without_tls(host: str) -> None:
    (what,) = problems({"remote": {"host": host}}).values()
    assert f"remote.host = {host}," in what
    assert "remote.tls = true" in what
    assert "dopq cert init" in what


@pytest.mark.parametrize("host", BEYOND)
def test_with_tls_any_address_or_name_is_listened_on(host: str) -> None:
    assert parse({"remote": {"host": host, "tls": True}}, "x").remote.host == host


@pytest.mark.parametrize("host", ["", "127.0.0.1\n", "a b", "http://gpu1", "gpu1/x", "gpu1:9090", "a" * 254])
@pytest.mark.parametrize("tls", [True, False])
def test_what_is_neither_address_nor_name_is_refused(host: str, tls: bool) -> None:
    assert "remote.host" in problems({"remote": {"host": host, "tls": tls}})


@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.1.1", "localhost", "::1"])
def test_this_machine_has_several_names_and_may_have_tls(host: str, tls: bool) -> None:
    assert parse({"remote": {"host": host, "tls": tls}}, "x").remote.host == host


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("queue", "half_life_s", float("inf")),
        ("queue", "half_life_s", float("nan")),
        ("queue", "half_life_s", 0.0),
        ("queue", "cpu_job_rate", float("inf")),
        ("queue", "cpu_job_rate", -0.1),
        ("queue", "default_time_limit_s", 10**12),
        ("queue", "max_running", True),
        ("queue", "max_running", "3"),
        ("build", "timeout_s", float("inf")),
        ("remote", "port", 65536),
        ("container", "network", "host"),
        ("container", "network", "container:abc"),
        ("node", "log_level", "loud"),
        ("intake", "max_entries", 0),
    ],
)
def test_what_cannot_be_meant_is_refused(section: str, key: str, value: object) -> None:
    assert f"{section}.{key}" in problems({section: {key: value}})


@pytest.mark.parametrize("weight", ["2", 0.0, -1.0, float("inf"), float("nan"), True])
def test_a_weight_that_cannot_be_meant_is_refused(weight: object) -> None:
    assert "gpu.weights.A100" in problems({"gpu": {"weights": {"A100": weight}}})


def test_a_section_that_is_no_table_is_refused() -> None:
    assert "queue" in problems({"queue": 5})


@pytest.mark.parametrize("content", [b"[node\n", b"\xff\xfe", b"[node]\nname = 'a'\nname = 'b'\n"])
def test_a_file_that_is_no_toml_is_refused_with_its_path(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    with pytest.raises(BadConfig, match=re.escape(str(path))):
        load(path)


def test_a_missing_file_tells_how_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(BadConfig) as refused:
        load(tmp_path / "config.toml")
    assert "dopq config write" in refused.value.hint
    with pytest.raises(BadConfig):
        load(tmp_path)


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().queue.max_running = 5  # type: ignore[misc]


# --- changes ---


def test_a_change_keeps_every_comment_and_every_other_line() -> None:
    before, after = default_text().splitlines(), with_changes(default_text(), ["queue.max_running=7"]).splitlines()
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert len(changed) == 1
    old, new = changed[0]
    assert new.startswith("max_running = 7 ")
    assert new.partition("#")[2] == old.partition("#")[2]


def test_changes_are_what_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(
        with_changes(default_text(), ["node.name=lab1", "gpu.devices=['GPU-1', 'GPU-2']", "node.log_json = true"])
    )
    settings, _ = load(path)
    assert settings.node.name == "lab1"
    assert settings.gpu.devices == ["GPU-1", "GPU-2"]
    assert settings.node.log_json is True


TEXTS = st.text(st.characters(codec="utf-8"), max_size=30).map(lambda text: f"x{text}x")


@given(TEXTS, TEXTS)
def test_any_text_can_be_set_and_set_again_and_the_comment_stays(first: str, second: str) -> None:
    (comment,) = re.findall(r"^share = .*?(#.*)$", default_text(), re.MULTILINE)
    text = default_text()
    for value in (first, second):
        text = with_changes(text, [f"node.share={value}"])
        assert parse(tomllib.loads(text), "x").node.share == value
        assert f"  {comment}\n" in text


@pytest.mark.parametrize(
    "change", ["", "node", "node.name", "name=lab1", "=", "node.nam=lab1", "nod.name=lab1", "queue.max_running=many"]
)
def test_a_change_of_nothing_known_is_refused(change: str) -> None:
    with pytest.raises(BadConfig):
        with_changes(default_text(), [change])


def test_a_value_cannot_smuggle_in_further_keys() -> None:
    changed = with_changes(default_text(), ["node.share=1\n[gpu]\ndefault_gpus = 8"])
    assert parse(tomllib.loads(changed), "x").gpu.default_gpus == -1


def test_a_value_over_several_lines_is_left_to_an_editor() -> None:
    text = default_text().replace('devices = "all"', 'devices = [\n"GPU-1",\n]')
    with pytest.raises(BadConfig, match="TOML"):
        with_changes(text, ["gpu.devices=none"])


# --- where things are ---


def test_relative_folders_lie_beside_the_settings_file(tmp_path: Path) -> None:
    paths = Paths(tmp_path, NodeSettings(state="var", share="/mnt/share", data="data"))
    assert paths.journal == tmp_path / "var" / "journal.sqlite3"
    assert paths.inbox == Path("/mnt/share/inbox")
    assert paths.data == tmp_path / "data"


def test_the_state_folder_is_for_the_service_alone(tmp_path: Path) -> None:
    paths = Paths(tmp_path, NodeSettings())
    paths.make()
    paths.make()
    assert {path.stat().st_mode & 0o777 for path in (paths.state, paths.spool, paths.jobs, paths.uploads)} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in (paths.share, paths.inbox, paths.outbox)} == {0o755}


def test_a_node_without_a_name_is_called_after_its_machine() -> None:
    assert node_name(NodeSettings(name="lab1")) == "lab1"
    assert node_name(NodeSettings())


def test_every_section_is_a_frozen_table() -> None:
    for name, field in Settings.model_fields.items():
        assert isinstance(field.annotation, type), name
        assert issubclass(field.annotation, BaseModel), name
        assert field.annotation.model_config["frozen"], name
        assert field.annotation.model_config["extra"] == "forbid", name
