from __future__ import annotations

import json
import tomllib
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dopq.container_handler.bundle_name import slug
from dopq.container_handler.container_config import JSON_FILE, TOML_FILE, SpecDefaults, read_spec
from dopq.container_handler.quantities import parse_size
from dopq.container_handler.refusal import problems_of
from dopq.errors import BundleRejected
from dopq.job import After, JobSpec

DEFAULTS = SpecDefaults(gpus=1, max_time_limit_s=86400)


def read(file: str, text: str | bytes) -> JobSpec:
    content = text.encode() if isinstance(text, str) else text
    return read_spec({file: content}, default_name="My Bundle", defaults=DEFAULTS, user="ada")


def refused(file: str, text: str | bytes) -> list[str]:
    with pytest.raises(BundleRejected) as caught:
        read(file, text)
    return [str(problem) for problem in problems_of(caught.value)]


def test_a_container_config_becomes_a_spec() -> None:
    text = json.dumps(
        {
            "name": "iris",
            "executor_name": "ada",
            "num_gpus": 2,
            "num_slots": 1,
            "required_memory": "1.5g",
            "build_flag": True,
            "run_params": {
                "command": "python3 train.py --name 'my run'",
                "entrypoint": ["/bin/sh", "-c"],
                "environment": {"EPOCHS": "10"},
                "working_dir": "/app",
                "shm_size": "512m",
                "stop_signal": "SIGINT",
            },
        }
    )
    assert read(JSON_FILE, text) == JobSpec(
        name="iris",
        gpus=2,
        build=True,
        memory_bytes=3 * 2**29,
        shm_bytes=2**29,
        command=("python3", "train.py", "--name", "my run"),
        entrypoint=("/bin/sh", "-c"),
        environment=(("EPOCHS", "10"),),
        working_dir="/app",
        stop_signal="SIGINT",
    )


def test_a_job_toml_becomes_a_spec() -> None:
    text = """
        name = "iris"
        gpus = 0
        slots = 1
        memory = "20g"
        shm_size = "64m"
        cpus = 2
        time_limit = "90m"
        command = ["python3", "train.py"]
        priority = -3
        retries = 5
        after = ["prepare", 17, "split:any", "9:ok"]
        template = "python"
        python = "3.12"
        env = { EPOCHS = "10" }
    """
    assert read(TOML_FILE, text) == JobSpec(
        name="iris",
        gpus=0,
        memory_bytes=20 * 2**30,
        shm_bytes=64 * 2**20,
        cpus=2.0,
        time_limit_s=5400,
        command=("python3", "train.py"),
        environment=(("EPOCHS", "10"),),
        priority=-3,
        retries=5,
        after=(After("prepare"), After("17"), After("split", however=True), After("9")),
        template="python",
        python="3.12",
    )


def test_without_a_spec_file_all_is_default() -> None:
    spec = read_spec({}, default_name="My Bundle (2)", defaults=DEFAULTS, user="ada")
    assert spec == JobSpec(name="my-bundle-2", gpus=1)


def test_an_empty_spec_and_one_of_nulls_say_nothing() -> None:
    assert read(JSON_FILE, "{}") == read(TOML_FILE, "") == JobSpec(name="my-bundle", gpus=1)
    assert read(JSON_FILE, '{"name": null, "num_gpus": null, "run_params": null}') == read(JSON_FILE, "{}")


def test_the_byte_order_mark_of_windows_editors_is_taken() -> None:
    assert read(JSON_FILE, b'\xef\xbb\xbf{"name": "a"}').name == "a"


def test_an_environment_may_be_a_list_of_lines() -> None:
    assert read(JSON_FILE, '{"run_params": {"environment": ["A=1", "B=x=y"]}}').environment == (
        ("A", "1"),
        ("B", "x=y"),
    )


# file, text, the whole of the only problem
REFUSALS = {
    "syntax": (
        JSON_FILE,
        '{"name": "a",\n}',
        (
            "container_config.json: line 2, column 1: this is no valid JSON "
            "(Expecting property name enclosed in double quotes). Mend the syntax there."
        ),
    ),
    "a list": (
        JSON_FILE,
        "[]",
        'container_config.json: it holds no table of settings. Write {"name": "my-job"}.',
    ),
    "a duplicate key": (
        JSON_FILE,
        '{"name": "a", "name": "b"}',
        "container_config.json: the key 'name' is there twice. Keep one of them.",
    ),
    "NaN": (
        JSON_FILE,
        '{"num_gpus": NaN}',
        "container_config.json: NaN is no JSON number. Write a number.",
    ),
    "an over-long number": (
        JSON_FILE,
        '{"num_gpus": ' + "1" * 19 + "}",
        "container_config.json: the number '1111111111111111111' is too long. Write a smaller number.",
    ),
    "a float for an integer": (
        JSON_FILE,
        '{"num_gpus": 1.0}',
        "container_config.json: num_gpus: 1.0 does not fit. Write a whole number, without quotes and without a decimal point.",
    ),
    "a boolean for a number": (
        JSON_FILE,
        '{"num_gpus": true}',
        "container_config.json: num_gpus: true does not fit. Write a whole number, without quotes and without a decimal point.",
    ),
    "a boolean for a size": (
        JSON_FILE,
        '{"required_memory": true}',
        'container_config.json: required_memory: true is no size. Write a number and its unit, such as "512m", "20g" or "1.5g".',
    ),
    "text for a number": (
        TOML_FILE,
        'gpus = "1"',
        "job.toml: gpus: '1' does not fit. Write a whole number, without quotes and without a decimal point.",
    ),
    "a number for text": (
        JSON_FILE,
        '{"name": 7}',
        'container_config.json: name: 7 does not fit. Write text in quotes, such as "my-job".',
    ),
    "text for a boolean": (
        JSON_FILE,
        '{"build_flag": "no"}',
        "container_config.json: build_flag: 'no' does not fit. Write true or false, without quotes.",
    ),
    "a list for run_params": (
        JSON_FILE,
        '{"run_params": []}',
        'container_config.json: run_params: [] does not fit. Write a table, such as {"command": "python3 train.py"}.',
    ),
    "fewer than no GPUs": (
        JSON_FILE,
        '{"num_gpus": -1}',
        "container_config.json: num_gpus: -1 does not fit. Write 0 or more.",
    ),
    "too many GPUs": (TOML_FILE, "gpus = 1025", "job.toml: gpus: 1025 does not fit. Write 1024 or less."),
    "no CPU": (TOML_FILE, "cpus = 0", "job.toml: cpus: 0 does not fit. Write 0.01 or more."),
    "infinite CPUs": (TOML_FILE, "cpus = inf", "job.toml: cpus: inf does not fit. Write a finite number."),
    "CPUs that are no number": (TOML_FILE, "cpus = nan", "job.toml: cpus: nan does not fit. Write a finite number."),
    "a boolean for CPUs": (
        TOML_FILE,
        "cpus = true",
        "job.toml: cpus: true does not fit. Write a number, without quotes.",
    ),
    "a priority out of bounds": (
        TOML_FILE,
        "priority = 101",
        "job.toml: priority: 101 does not fit. Write 100 or less.",
    ),
    "too many retries": (
        TOML_FILE,
        "retries = 6",
        "job.toml: retries: 6 does not fit. Write 5 or less.",
    ),
    "no job to come after": (
        TOML_FILE,
        'after = "prepare:maybe"',
        (
            "job.toml: after: 'prepare:maybe' names no job. "
            'Write a number or a name, such as 17, "prepare" or "prepare:any".'
        ),
    ),
    "a boolean for a job": (
        TOML_FILE,
        "after = [true]",
        'job.toml: after: true names no job. Write a number or a name, such as 17, "prepare" or "prepare:any".',
    ),
    "an empty list of jobs": (
        TOML_FILE,
        "after = []",
        "job.toml: after: it names 0 jobs. Name 1 to 100 jobs, or leave the key out.",
    ),
    "an unknown key": (
        JSON_FILE,
        '{"num_gpu": 1}',
        (
            'container_config.json: num_gpu: no such key. Did you mean "num_gpus"? Known here are: '
            "build_flag, executor_name, name, num_gpus, num_slots, required_memory, run_params."
        ),
    ),
    "an unknown template": (
        TOML_FILE,
        'template = "julia"',
        "job.toml: template: 'julia' does not fit. Write one of these: 'python', 'octave' or 'matlab'.",
    ),
    "a version of Python without quotes": (
        TOML_FILE,
        "python = 3.12",
        'job.toml: python: 3.12 is a number. Write the version in quotes, such as "3.12".',
    ),
    "a version that is more than a version": (
        TOML_FILE,
        'python = "3.12-slim AS x"',
        "job.toml: python: '3.12-slim AS x' is no version of Python 3. Write one such as \"3.12\".",
    ),
    "a key like none": (
        TOML_FILE,
        "xyzzy = 1",
        (
            "job.toml: xyzzy: no such key. Leave it out. Known here are: "
            "after, command, cpus, env, gpus, memory, name, priority, python, retries, shm_size, slots, template, time_limit."
        ),
    ),
    "a run parameter of docker-py's": (
        JSON_FILE,
        '{"run_params": {"privileged": true}}',
        (
            "container_config.json: run_params.privileged: a job may not set this. Leave it out. Known here are: "
            "command, entrypoint, environment, shm_size, stop_signal, working_dir."
        ),
    ),
    "a name with capitals": (
        JSON_FILE,
        '{"name": "My Job"}',
        (
            "container_config.json: name: 'My Job' cannot be a name: a name has 1 to 63 small letters, digits, '-', '_' or '.', "
            'and begins with a letter or digit. Write "my-job".'
        ),
    ),
    "another executor": (
        JSON_FILE,
        '{"executor_name": "bob"}',
        "container_config.json: executor_name: it says 'bob', but 'ada' handed the bundle in. Write \"ada\", or leave it out.",
    ),
    "two slots": (
        JSON_FILE,
        '{"num_slots": 2}',
        (
            "container_config.json: num_slots: 2 slots were asked for; this node hands out whole GPUs only. "
            "Write 1, or leave it out."
        ),
    ),
    "two slots in TOML": (
        TOML_FILE,
        "slots = 2",
        "job.toml: slots: 2 slots were asked for; this node hands out whole GPUs only. Write 1, or leave it out.",
    ),
    "a size without unit": (
        TOML_FILE,
        'memory = "512"',
        'job.toml: memory: \'512\' is no size. Write a number and its unit, such as "512m", "20g" or "1.5g".',
    ),
    "a few bytes": (
        TOML_FILE,
        "memory = 512",
        (
            "job.toml: memory: 512 is not between 6m and 16t (a number without unit counts bytes). "
            'Write a size such as "512m" or "20g".'
        ),
    ),
    "a size beyond all machines": (
        TOML_FILE,
        'memory = "17t"',
        'job.toml: memory: \'17t\' is not between 6m and 16t. Write a size such as "512m" or "20g".',
    ),
    "a time without unit": (
        TOML_FILE,
        "time_limit = 90",
        'job.toml: time_limit: 90 is no time. Write a number and its unit, such as "2h", "90m" or "45s".',
    ),
    "no time": (
        TOML_FILE,
        'time_limit = "0s"',
        "job.toml: time_limit: '0s' is not between 1s and 366d. Write a time such as \"2h\".",
    ),
    "more time than the node gives": (
        TOML_FILE,
        'time_limit = "25h"',
        "job.toml: time_limit: '25h' is more than the 86400 seconds that this node allows. Write \"86400s\" or less.",
    ),
    "an open quotation": (
        TOML_FILE,
        'command = "python3 \'train.py"',
        'job.toml: command: "python3 \'train.py" has no closing quotation. Close it, or write a list of words.',
    ),
    "an empty command": (
        TOML_FILE,
        'command = " "',
        "job.toml: command: it has 0 words. Write 1 to 1024 words, or leave the key out.",
    ),
    "a command of numbers": (
        TOML_FILE,
        "command = [1]",
        'job.toml: command: [1] is no command. Write text, or a list such as ["python3", "train.py"].',
    ),
    "a NUL in a command": (
        TOML_FILE,
        'command = ["a\\u0000b"]',
        "job.toml: command: it holds a NUL, half a character, or more than 32768 characters. Write a plain, shorter text.",
    ),
    "half a character in a command": (
        JSON_FILE,
        '{"run_params": {"command": ["\\ud800"]}}',
        (
            "container_config.json: run_params.command: it holds a NUL, half a character, or more than 32768 characters. "
            "Write a plain, shorter text."
        ),
    ),
    "a number in the environment": (
        TOML_FILE,
        "env = { EPOCHS = 10 }",
        "job.toml: env: EPOCHS is 10, which is no text. Leave those out, or write them as text: NAME and value in quotes.",
    ),
    "a bad name in the environment": (
        TOML_FILE,
        'env = { "A B" = "1" }',
        (
            "job.toml: env: 'A B' cannot be the name of a variable. "
            "Leave those out, or write them as text: NAME and value in quotes."
        ),
    ),
    "an environment of words": (
        JSON_FILE,
        '{"run_params": {"environment": ["A"]}}',
        'container_config.json: run_params.environment: [\'A\'] is no environment. Write a table such as {"EPOCHS": "10"}.',
    ),
    "a variable twice": (
        JSON_FILE,
        '{"run_params": {"environment": ["A=1", "A=2"]}}',
        (
            "container_config.json: run_params.environment: a variable is there twice. "
            "Leave those out, or write them as text: NAME and value in quotes."
        ),
    ),
    "a relative working folder": (
        JSON_FILE,
        '{"run_params": {"working_dir": "app"}}',
        (
            "container_config.json: run_params.working_dir: 'app' is no folder in the container. "
            'Write an absolute path such as "/app".'
        ),
    ),
    "an unknown signal": (
        JSON_FILE,
        '{"run_params": {"stop_signal": "SIGFOO"}}',
        (
            "container_config.json: run_params.stop_signal: 'SIGFOO' is no signal. "
            'Write a name such as "SIGTERM" or "SIGINT".'
        ),
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_wrong_setting_is_refused_with_what_to_write_instead(case: str) -> None:
    file, text, words = REFUSALS[case]
    assert refused(file, text) == [words]


@pytest.mark.parametrize("key", ["network", "ports", "notify"])
def test_a_key_that_cannot_be_honoured_yet_is_refused_not_ignored(key: str) -> None:
    assert refused(TOML_FILE, f'{key} = "x"') == [f"job.toml: {key}: this version cannot honour it yet. Leave it out."]


@pytest.mark.parametrize(
    "key", ["NVIDIA_VISIBLE_DEVICES", "NVIDIA_X", "CUDA_VISIBLE_DEVICES", "LD_PRELOAD", "LD_AUDIT", "DOPQ_JOB"]
)
def test_variables_of_the_service_are_refused(key: str) -> None:
    [problem] = refused(TOML_FILE, f'env = {{ {key} = "all" }}')
    assert problem.startswith(f"job.toml: env: {key} belongs to the service.")


def test_two_spec_files_are_refused() -> None:
    with pytest.raises(BundleRejected, match=r"it has both container_config\.json and job\.toml\. Keep one of them\."):
        read_spec({JSON_FILE: b"{}", TOML_FILE: b""}, default_name="a", defaults=DEFAULTS, user="ada")


@pytest.mark.parametrize("content", [b'{"name": "\xff"}', b"\x00" * 10, b"{" * 60_000, b"[" * 60_000, b"9" * 60_000])
@pytest.mark.parametrize("file", [JSON_FILE, TOML_FILE])
def test_a_spec_that_is_no_text_or_nested_without_end_is_refused(file: str, content: bytes) -> None:
    assert refused(file, content)


def test_toml_nested_without_end_is_refused() -> None:
    [problem] = refused(TOML_FILE, "a = " + "[" * 60_000)
    assert problem.startswith("job.toml: this is no valid TOML")


def test_a_spec_of_many_bytes_is_refused() -> None:
    [problem] = refused(JSON_FILE, b" " * (64 * 1024 + 1))
    assert problem == "container_config.json: it has 65537 bytes. A spec has at most 65536 bytes."


def test_all_problems_come_at_once() -> None:
    text = """
        name = "My Job"
        gpus = true
        slots = 2
        memroy = "1g"
        time_limit = "2d"
        retries = 6
        env = { DOPQ_JOB = "1", A = 1 }
    """
    problems = refused(TOML_FILE, text)
    assert {problem.split(":")[1].strip() for problem in problems} == set(tomllib.loads(text))
    [environment] = [problem for problem in problems if ": env:" in problem]
    assert "DOPQ_JOB belongs to the service; A is 1, which is no text" in environment


FOUR_SLOTS = replace(DEFAULTS, slots_per_gpu=4)


@pytest.mark.parametrize(
    ("text", "gpus", "slots"),
    [
        ("", 1, None),
        ("gpus = 2", 2, None),
        ("slots = 1", 1, 1),
        ("slots = 3\ngpus = 1", 1, 3),
        ("slots = 4", 1, None),
        ("slots = 4\ngpus = 2", 2, None),
    ],
)
def test_slots_are_of_one_gpu_and_all_of_them_are_the_whole(text: str, gpus: int, slots: int | None) -> None:
    spec = read_spec({TOML_FILE: text.encode()}, default_name="a", defaults=FOUR_SLOTS, user="ada")
    assert (spec.gpus, spec.slots) == (gpus, slots)


def test_slots_ask_for_a_gpu_also_where_jobs_get_none_by_default() -> None:
    defaults = replace(FOUR_SLOTS, gpus=0)
    spec = read_spec({JSON_FILE: b'{"num_slots": 2}'}, default_name="a", defaults=defaults, user="ada")
    assert (spec.gpus, spec.slots) == (1, 2)


def test_one_slot_says_nothing_where_gpus_have_no_other() -> None:
    spec = read(JSON_FILE, '{"num_gpus": 2, "num_slots": 1}')
    assert (spec.gpus, spec.slots) == (2, None)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "slots = 5",
            "5 slots were asked for; a GPU of this node has 4. Write 1 to 4, or leave it out for whole GPUs.",
        ),
        (
            "slots = 0",
            "0 slots were asked for; a GPU of this node has 4. Write 1 to 4, or leave it out for whole GPUs.",
        ),
        (
            "slots = 1\ngpus = 2",
            "1 slot was asked for, and 2 GPUs; slots are those of one GPU. Ask for one GPU, or leave the slots out.",
        ),
        (
            "slots = 3\ngpus = 0",
            "3 slots were asked for, and 0 GPUs; slots are those of one GPU. Ask for one GPU, or leave the slots out.",
        ),
    ],
)
def test_slots_that_cannot_be_had_are_refused(text: str, problem: str) -> None:
    with pytest.raises(BundleRejected) as caught:
        read_spec({TOML_FILE: text.encode()}, default_name="a", defaults=FOUR_SLOTS, user="ada")
    assert [str(it) for it in problems_of(caught.value)] == [f"job.toml: slots: {problem}"]


def test_the_error_of_one_problem_is_a_whole_sentence() -> None:
    with pytest.raises(BundleRejected) as caught:
        read(TOML_FILE, "gpus = -1")
    assert str(caught.value) == "The bundle was refused. job.toml: gpus: -1 does not fit. Write 0 or more."
    assert caught.value.details["problems"] == [
        {"where": "job.toml: gpus", "what": "-1 does not fit", "instead": "Write 0 or more."}
    ]


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512m", 512 * 2**20),
        ("20g", 20 * 2**30),
        ("1.5g", 3 * 2**29),
        ("1 GiB", 2**30),
        ("1T", 2**40),
        ("6144k", 6291456),
    ],
)
def test_sizes_are_powers_of_1024(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "g", "1", "1x", "-1g", "1.g", "1e3g", "٣g", "1g1g", "nan", "1_0g"])
def test_what_is_no_quantity_is_none(text: str) -> None:
    assert parse_size(text) is None


@given(st.text())
@example("ß" * 100)
def test_a_slug_is_always_a_name_and_stays_itself(text: str) -> None:
    name = slug(text)
    assert read(TOML_FILE, f"name = {json.dumps(name)}").name == name
    assert slug(name) == name


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
RUN_KEYS = ["command", "entrypoint", "environment", "working_dir", "shm_size", "stop_signal"]
CONFIG_KEYS = ["name", "executor_name", "num_gpus", "num_slots", "required_memory", "build_flag", "run_params"]


@given(st.dictionaries(st.sampled_from(CONFIG_KEYS) | st.text(max_size=8), anything, max_size=4))
def test_any_config_is_read_or_refused(table: dict[str, object]) -> None:
    with suppress(BundleRejected):
        read(JSON_FILE, json.dumps(table))


FIELD_OF = {"environment": "environment", "shm_size": "shm_bytes"}


@given(st.sampled_from(RUN_KEYS) | st.text(max_size=12), anything | st.just(["a=1"]) | st.just("1g") | st.just("/a"))
@example("command", "x --gpus 8")
@example("stop_signal", "SIGINT")
def test_no_run_param_changes_any_other_field(key: str, value: object) -> None:
    try:
        spec = read(JSON_FILE, json.dumps({"run_params": {key: value}}))
    except BundleRejected:
        return
    plain = read(JSON_FILE, "{}")
    changed = {field for field in JobSpec.__dataclass_fields__ if getattr(spec, field) != getattr(plain, field)}
    assert changed <= {FIELD_OF.get(key, key)}
