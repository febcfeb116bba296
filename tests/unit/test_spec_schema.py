"""What the published schema says agrees with what the gate does."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from dopq.container_handler.container_config import JSON_FILE, TOML_FILE, SpecDefaults, read_spec
from dopq.container_handler.spec_schema import spec_schema
from dopq.errors import BundleRejected

EXAMPLES = Path(__file__).parents[2] / "examples"
JOB = Draft202012Validator(spec_schema("job"))
CONFIG = Draft202012Validator(spec_schema("container_config"))


def gate_takes(file: str, text: str) -> bool:
    try:
        defaults = SpecDefaults(gpus=0, max_time_limit_s=366 * 86400, slots_per_gpu=16)
        read_spec({file: text.encode()}, default_name="x", defaults=defaults, user=None)
    except BundleRejected:
        return False
    return True


def objects(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return [schema, *schema.get("$defs", {}).values()]


@pytest.mark.parametrize("validator", [JOB, CONFIG])
def test_the_schema_is_one_and_describes_every_key(validator: Any) -> None:
    Draft202012Validator.check_schema(validator.schema)
    assert validator.schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    for table in objects(validator.schema):
        assert table["additionalProperties"] is False
        assert [key for key, value in table["properties"].items() if not value.get("description")] == []


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*/container_config.json")) + sorted(EXAMPLES.glob("*/job.toml")))
def test_every_example_fits(file: Path) -> None:
    if file.suffix == ".json":
        CONFIG.validate(json.loads(file.read_text()))
    else:
        JOB.validate(tomllib.loads(file.read_text()))


@pytest.mark.parametrize(
    ("line", "fits"),
    [
        ('name = "iris"', True), ('name = "Iris"', False), ("name = 1", False),
        ("gpus = 0", True), ("gpus = -1", False), ("gpus = true", False), ('gpus = "1"', False),
        ("slots = 1", True), ("slots = 16", True), ("slots = 0", False), ("slots = 17", False), ("slots = true", False),
        ('memory = "1.5g"', True), ('memory = "1.5"', False), ("memory = 6291456", True), ("memory = 1", False),
        ('time_limit = "90m"', True), ('time_limit = "20min"', True), ("time_limit = 90", False), ('time_limit = "1 week"', False),
        ("cpus = 0.5", True), ("cpus = 0", False),
        ('command = "python3 a.py"', True), ('command = ["a", "b"]', True), ('command = ""', False),
        ("command = []", False), ("command = [1]", False),
        ('env = { EPOCHS = "1" }', True), ("env = { EPOCHS = 1 }", False), ('env = { DOPQ_JOB = "1" }', False),
        ('env = { LD_PRELOAD = "x" }', False), ('env = ["A=b"]', True), ('env = ["A"]', False),
        ("priority = -100", True), ("priority = 101", False),
        ("retries = 5", True), ("retries = 6", False), ("retries = -1", False),
        ("after = 17", True), ('after = "prepare:any"', True), ('after = ["a", 2]', True), ("after = []", False),
        ("after = -1", False), ('after = "A"', False), ('after = "a:b"', False),
        ('template = "octave"', True), ('template = "julia"', False),
        ('python = "3.12"', True), ("python = 3.12", False), ('python = "2.7"', False), ('python = "3.12-slim"', False),
        ("colour = 1", False),
    ],
)  # fmt: skip
def test_schema_and_gate_agree_on_a_key_of_job_toml(line: str, fits: bool) -> None:
    assert gate_takes(TOML_FILE, line) is fits
    assert JOB.is_valid(tomllib.loads(line)) is fits


@pytest.mark.parametrize(
    ("config", "fits"),
    [
        ({"name": "a", "executor_name": "ada", "num_gpus": 1, "num_slots": 1, "required_memory": "20g"}, True),
        ({"run_params": {"command": "x", "shm_size": "64m", "stop_signal": "SIGINT", "working_dir": "/a"}}, True),
        ({"run_params": {"stop_signal": "SIGNOTHING"}}, False),
        ({"run_params": {"working_dir": "a"}}, False),
        ({"run_params": {"privileged": True}}, False),
        ({"num_gpus": True}, False),
        ({"num_gpu": 1}, False),
    ],
)
def test_schema_and_gate_agree_on_a_container_config(config: dict[str, object], fits: bool) -> None:
    assert gate_takes(JSON_FILE, json.dumps(config)) is fits
    assert CONFIG.is_valid(config) is fits


WORDS = st.text("0123456789.kmgtibshdKG /-_a", max_size=8)


@given(st.sampled_from(["name", "memory", "time_limit", "python"]), WORDS)
def test_whatever_text_the_gate_takes_the_schema_takes(key: str, text: str) -> None:
    line = f"{key} = {json.dumps(text)}"
    if gate_takes(TOML_FILE, line):
        JOB.validate(tomllib.loads(line))
