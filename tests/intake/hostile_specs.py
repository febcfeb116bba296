"""Bundles whose settings are wrong: each with the words that name key and way out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from tests.bundles import DOCKERFILE, Content, zip_of
from tests.intake.hostile import Hostile
from tests.intake.hostile_zips import file_name

JSON, TOML = "container_config.json", "job.toml"
RUN_PARAMS_TAKEN = frozenset({"command", "entrypoint", "environment", "working_dir", "shm_size", "stop_signal"})
DEEP = 30_000


def specs() -> Iterator[Hostile]:
    yield from _syntax()
    yield from _values()
    yield from _run_params()
    yield from _environment()
    yield from _keys()
    both: dict[str, Content] = {JSON: "{}", TOML: ""}
    yield bundle("spec in both files", both, "both", JSON, TOML)
    wrong: dict[str, Content] = {JSON: '{"num_gpus": 1.5}', TOML: "gpu = 1"}
    yield bundle("spec in both files, both wrong", wrong, "both", "num_gpus: 1.5", '"gpus"')
    yield bundle("spec in a folder of its name", {f"{JSON}/a": "x"}, JSON)
    yield bundle("spec under a near name", {"Container_config.JSON": "{}"}, f'"{JSON}"')


def bundle(title: str, files: dict[str, Content], *words: str) -> Hostile:
    """A good bundle but for these files."""
    content = {"Dockerfile": DOCKERFILE} | files

    def write(path: Path) -> Path:
        return zip_of(path, content)

    return Hostile(title, file_name(title) + ".zip", write, words)


def in_json(title: str, text: Content, *words: str) -> Hostile:
    return bundle(f"json: {title}", {JSON: text}, JSON, *words)


def in_toml(title: str, text: Content, *words: str) -> Hostile:
    return bundle(f"toml: {title}", {TOML: text}, TOML, *words)


def _syntax() -> Iterator[Hostile]:
    yield in_json("nothing", "", "no valid JSON")
    yield in_json("a list", "[]", "no table")
    yield in_json("a word", '"name"', "no table")
    yield in_json("null", "null", "no table")
    yield in_json("open brace", '{"name": "a"', "no valid JSON", "line 1")
    yield in_json("comma at the end", '{"name": "a",}', "no valid JSON")
    yield in_json("comment", '{"name": "a"} // mine', "no valid JSON")
    yield in_json("single quotes", "{'name': 'a'}", "no valid JSON")
    yield in_json("two tables", '{"name": "a"}{"name": "b"}', "no valid JSON")
    yield in_json("UTF-16", '{"name": "a"}'.encode("utf-16"), "UTF-8")
    yield in_json("UTF-16 without its mark", '{"name": "a"}'.encode("utf-16-le"), "no valid JSON")
    yield in_json("Latin-1", '{"name": "größe"}'.encode("latin-1"), "UTF-8")
    yield in_json("NUL bytes", b'{"name": "a"}\0', "no valid JSON")
    yield in_json("a raw new line in a text", '{"name": "a\n"}', "no valid JSON")
    yield in_json("nested 30,000 deep", "[" * DEEP + "]" * DEEP, "nested")
    yield in_json("tables nested 5,000 deep", '{"a":' * 5000 + "1" + "}" * 5000, "nested")
    yield in_json("of 65 kilobytes", json.dumps({"name": "a" * 65 * 1024}), "bytes")
    yield in_json("duplicate key", '{"name": "a", "name": "b"}', "'name'", "twice")
    yield in_json("duplicate key within", '{"run_params": {"command": "a", "command": "b"}}', "'command'", "twice")
    yield in_json("duplicate key spelt apart", '{"name": "a", "n\\u0061me": "b"}', "'name'", "twice")
    yield in_toml("open text", 'name = "a', "no valid TOML")
    yield in_toml("duplicate key", 'name = "a"\nname = "b"', "no valid TOML")
    yield in_toml("duplicate table", "[env]\nA='1'\n[env]\nB='1'", "no valid TOML")
    yield in_toml("UTF-16", 'name = "a"'.encode("utf-16"), "UTF-8")
    yield in_toml("NUL byte", b'name = "a"\0', "no valid TOML")
    yield in_toml("nested 30,000 deep", "name = " + "[" * DEEP, "no valid TOML")
    yield in_toml("json in it", '{"name": "a"}', "no valid TOML")
    yield in_toml("number of 5,000 digits", "gpus = " + "9" * 5000, "TOML")


def _values() -> Iterator[Hostile]:
    for word in ("NaN", "Infinity", "-Infinity"):
        yield in_json(f"{word} for GPUs", f'{{"num_gpus": {word}}}', word)
    for key in ("num_gpus", "num_slots"):
        yield in_json(f"1.0 for {key}", f'{{"{key}": 1.0}}', key, "whole number")
        yield in_json(f"1e3 for {key}", f'{{"{key}": 1e3}}', key, "whole number")
        yield in_json(f"true for {key}", f'{{"{key}": true}}', key, "whole number")
        yield in_json(f"text for {key}", f'{{"{key}": "1"}}', key, "whole number")
    yield in_json("negative GPUs", '{"num_gpus": -1}', "num_gpus", "0 or more")
    yield in_json("very many GPUs", '{"num_gpus": 99999}', "num_gpus", "or less")
    yield in_json("a number of 400 digits", f'{{"num_gpus": {"9" * 400}}}', "too long")
    yield in_json("a number of 5,000 digits", f'{{"num_gpus": {"9" * 5000}}}', "too long")
    yield in_json("1e999 for memory", '{"required_memory": 1e999}', "required_memory", "size")
    yield in_json("a list for GPUs", '{"num_gpus": [1]}', "num_gpus")
    yield in_json("a table for a name", '{"name": {}}', "name", "text")
    yield in_json("a number for a name", '{"name": 7}', "name", "text")
    yield in_json("a name that leads up", '{"name": "../../etc"}', "name", "letters")
    yield in_json("an empty name", '{"name": ""}', "name", "letters")
    yield in_json("a name with bidirectional characters", '{"name": "a\\u202eb"}', "name", "letters")
    yield in_json("a name of 300 letters", json.dumps({"name": "a" * 300}), "name", "letters")
    yield in_json("text for build_flag", '{"build_flag": "false"}', "build_flag", "true or false")
    yield in_json("0 for build_flag", '{"build_flag": 0}', "build_flag", "true or false")
    yield in_json("another's name as executor", '{"executor_name": "root"}', "executor_name")
    yield in_json("run_params that are a list", '{"run_params": ["--privileged"]}', "run_params", "table")
    for size in ("512", "1x", "-1g", "1e3m", "g", "", "nan", "1 gigabyte", "9" * 400 + "g", "0m", "99999t"):
        yield in_json(f"size {size[:9]!r}", json.dumps({"required_memory": size}), "required_memory", "512m")
    for value in (True, 1.5, [], -1):
        yield in_json(f"size {value}", json.dumps({"required_memory": value}), "required_memory", "512m")
    for time in ("90", "1y", "-5m", "0s", "9" * 400 + "h", "inf"):
        yield in_toml(f"time {time[:9]!r}", f'time_limit = "{time}"', "time_limit", "2h")
    for value in ("nan", "inf", "true", "0", "-1", '"2"', "1e99"):
        yield in_toml(f"cpus {value}", f"cpus = {value}", "cpus")
    yield in_toml("date for a name", "name = 2020-01-01", "name", "text")
    yield in_toml("priority of a billion", "priority = 1000000000", "priority")


def _run_params() -> Iterator[Hostile]:
    for key in refused_run_params():
        text = json.dumps({"run_params": {key: True}})
        yield in_json(f"run_params {key}", text, f"run_params.{key}", "a job may not set this")
    yield in_json("run_params with dashes", '{"run_params": {"--privileged": true}}', "run_params", "may not")
    yield in_json("command of numbers", '{"run_params": {"command": [1]}}', "command")
    yield in_json("command of nothing", '{"run_params": {"command": []}}', "command")
    yield in_json("command with a NUL", '{"run_params": {"command": "a\\u0000b"}}', "command", "NUL")
    yield in_json("command with half a character", '{"run_params": {"command": "a\\ud800b"}}', "command", "half")
    yield in_json("command with an open quote", '{"run_params": {"command": "echo \\"a"}}', "command", "quotation")
    yield in_json("entrypoint of a table", '{"run_params": {"entrypoint": {}}}', "entrypoint")
    yield in_json("working_dir that is relative", '{"run_params": {"working_dir": "a"}}', "working_dir", "absolute")
    yield in_json("working_dir with a new line", '{"run_params": {"working_dir": "/a\\nb"}}', "working_dir")
    yield in_json("shm_size of all memory", '{"run_params": {"shm_size": "900t"}}', "shm_size")
    yield in_json("stop_signal that is none", '{"run_params": {"stop_signal": "SIGBOOM"}}', "stop_signal", "SIGTERM")
    yield in_json("stop_signal of a number", '{"run_params": {"stop_signal": 9}}', "stop_signal")


def refused_run_params() -> list[str]:
    """Every argument of docker-py's `containers.run` but those that a job may set."""
    from docker.models import containers

    taken = [*containers.RUN_CREATE_KWARGS, *containers.RUN_HOST_CONFIG_KWARGS, "image", "remove", "stdout", "stderr"]
    return sorted({*taken, "ports", "volumes", "network"} - RUN_PARAMS_TAKEN)


def _environment() -> Iterator[Hostile]:
    keys = (
        "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES", "NVIDIA_REQUIRE_CUDA", "CUDA_VISIBLE_DEVICES",
        "LD_PRELOAD", "DOPQ_JOB", "DOPQ_ATTEMPT", "DOPQ_ANYTHING",
    )  # fmt: skip
    for key in keys:
        yield in_json(f"environment {key}", json.dumps({"run_params": {"environment": {key: "all"}}}), key, "service")
        yield in_toml(f"environment {key}", f'env = {{ {key} = "all" }}', key, "service")
    line = '{"run_params": {"environment": ["NVIDIA_VISIBLE_DEVICES=all"]}}'
    yield in_json("environment as lines", line, "NVIDIA_VISIBLE_DEVICES", "service")
    yield in_json("environment with a number", '{"run_params": {"environment": {"A": 1}}}', "A is 1")
    yield in_json("environment with an odd name", '{"run_params": {"environment": {"A=B": "1"}}}', "'A=B'")
    yield in_json("environment without a name", '{"run_params": {"environment": {"": "1"}}}', "''")
    yield in_json("environment with a NUL", '{"run_params": {"environment": {"A": "\\u0000"}}}', "NUL")
    twice = '{"run_params": {"environment": ["A=1", "A=2"]}}'
    yield in_json("environment with a name twice", twice, "twice")
    many = json.dumps({"run_params": {"environment": {f"A{n}": "1" for n in range(3000)}}})
    yield in_json("environment of 3,000 names", many, "256")


def _keys() -> Iterator[Hostile]:
    near = {"num_gpu": "num_gpus", "Name": "name", "requiredMemory": "required_memory", "run_param": "run_params"}
    for key, meant in near.items():
        yield in_json(f"key {key}", json.dumps({key: 1}), key, f'"{meant}"')
    for key, meant in {"gpu": "gpus", "mem": "memory", "timelimit": "time_limit", "cpu": "cpus"}.items():
        yield in_toml(f"key {key}", f"{key} = 1", key, f'"{meant}"')
    yield in_toml("key of 30,000 dots", "a." * 30_000 + "b = 1", "line 1", "dots")
    yield in_json("key like none", '{"zzz": 1}', "zzz", "no such key", "num_gpus")
    yield in_json("key with bidirectional characters", '{"na\\u202eme": 1}', "no such key")
    yield in_json("key of 9,000 letters", json.dumps({"k" * 9000: 1}), "no such key")
    all_at_once = '{"name": "A B", "num_gpus": 1.5, "zzz": 1, "run_params": {"privileged": true}}'
    yield in_json("four problems at once", all_at_once, "name", "num_gpus", "zzz", "run_params.privileged")
