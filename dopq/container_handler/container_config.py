"""The spec: what a bundle's `container_config.json` or `job.toml` says, checked whole and turned into a `JobSpec`.

Both spellings are the contract (DESIGN 5.4). Nothing is passed through: a value arrives in the `JobSpec` because a
field here names it.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from dopq.container_handler.bundle_name import slug
from dopq.container_handler.refusal import refusal, shown
from dopq.container_handler.slots import SlotsAsked, in_slots, slots_problems
from dopq.container_handler.spec_fields import (
    Afters,
    Cpus,
    Environment,
    Folder,
    GpuCount,
    Name,
    Priority,
    PythonVersion,
    Retries,
    SignalName,
    Size,
    SlotCount,
    TemplateName,
    Time,
    Words,
)
from dopq.container_handler.spec_file import read_table
from dopq.durations import parse_duration
from dopq.job import JobSpec, Problem

JSON_FILE = "container_config.json"
TOML_FILE = "job.toml"
SPEC_FILES = (JSON_FILE, TOML_FILE)

_NOT_YET = frozenset({"network", "ports", "notify"})
_LONGEST_KEY = 64  # that is shown without quotes, and whole


@dataclass(frozen=True, slots=True)
class SpecDefaults:
    """What the node adds to a spec, and how far a spec may go.

    Attributes:
        gpus: GPUs of a job that does not say.
        max_time_limit_s: the longest time limit a job may ask for.
        slots_per_gpu: slots that a whole GPU has.
    """

    gpus: int
    max_time_limit_s: int
    slots_per_gpu: int = 1


class _Table(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, use_attribute_docstrings=True)


class RunParams(_Table):
    """The allow-list of `run_params`: of all that docker-py's `run()` takes, what is the job's own business."""

    command: Words | None = None
    """Replaces the image's CMD: text that is split as a shell would, or a list of words."""
    entrypoint: Words | None = None
    """Replaces the image's ENTRYPOINT."""
    environment: Environment | None = None
    """Added to the image's environment."""
    working_dir: Folder | None = None
    """Folder in the container in which the command runs; by default the image's WORKDIR."""
    shm_size: Size | None = None
    """Size of /dev/shm; by default the node's."""
    stop_signal: SignalName | None = None
    """What the process gets first when it has to stop; by default the image's STOPSIGNAL."""


class ContainerConfig(_Table):
    """`container_config.json`."""

    name: Name | None = None
    """The job's name; by default that of the bundle's file."""
    executor_name: str | None = None
    """The user who hands the bundle in; nobody else's name is taken."""
    num_gpus: GpuCount | None = None
    """Whole GPUs; by default the node's setting, usually 1 where it has any."""
    num_slots: SlotCount | None = None
    """Slots of one GPU, instead of a whole one: 1 to the node's `gpu.slots_per_gpu`, which is the whole GPU."""
    required_memory: Size | None = None
    """Limit on main memory; by default the node's."""
    build_flag: bool | None = None
    """Whether an image is to be built; true by default."""
    run_params: RunParams | None = None
    """How the container is run."""

    def to_spec(self, base: JobSpec) -> JobSpec:
        """`base` with all that is said here."""
        run = self.run_params or RunParams()
        return _said(
            base,
            name=self.name,
            gpus=self.num_gpus,
            build=self.build_flag,
            memory_bytes=self.required_memory,
            shm_bytes=run.shm_size,
            command=run.command,
            entrypoint=run.entrypoint,
            environment=run.environment,
            working_dir=run.working_dir,
            stop_signal=run.stop_signal,
        )


class JobToml(_Table):
    """`job.toml`."""

    name: Name | None = None
    """The job's name; by default that of the bundle's file."""
    gpus: GpuCount | None = None
    """Whole GPUs; by default the node's setting, usually 1 where it has any."""
    slots: SlotCount | None = None
    """Slots of one GPU, instead of a whole one: 1 to the node's `gpu.slots_per_gpu`, which is the whole GPU."""
    memory: Size | None = None
    """Limit on main memory; by default the node's."""
    shm_size: Size | None = None
    """Size of /dev/shm; by default the node's."""
    cpus: Cpus | None = None
    """Share of the CPU, in cores; no limit by default."""
    time_limit: Time | None = None
    """The job is stopped after running for so long; by default the node's limit."""
    command: Words | None = None
    """Replaces the image's CMD: text that is split as a shell would, or a list of words."""
    env: Environment | None = None
    """Added to the image's environment."""
    priority: Priority | None = None
    """Order among your own jobs: the higher goes first."""
    after: Afters | None = None
    """Own jobs, by number or name, that have to succeed before this one starts; with :any, just to end."""
    retries: Retries | None = None
    """How often it is tried again after a fault of the node; never after one of its own."""
    template: TemplateName | None = None
    """What runs a project without a Dockerfile; by default what its program is written in."""
    python: PythonVersion | None = None
    """Version of Python for the template python; by default the node's."""

    def to_spec(self, base: JobSpec) -> JobSpec:
        """`base` with all that is said here."""
        return _said(
            base,
            name=self.name,
            gpus=self.gpus,
            memory_bytes=self.memory,
            shm_bytes=self.shm_size,
            cpus=self.cpus,
            time_limit_s=self.time_limit,
            command=self.command,
            environment=self.env,
            priority=self.priority,
            after=self.after,
            retries=self.retries,
            template=self.template,
            python=self.python,
        )


def _said(base: JobSpec, **fields: Any) -> JobSpec:
    return replace(base, **{key: value for key, value in fields.items() if value is not None})


def read_spec(files: Mapping[str, bytes], *, default_name: str, defaults: SpecDefaults, user: str | None) -> JobSpec:
    """The checked spec of a bundle.

    Args:
        files: content of those of `SPEC_FILES` that are there; none is fine and means all defaults.
        default_name: where a spec gives no name, the job gets this one, slugged (usually the bundle's file name).
        user: who handed the bundle in; an `executor_name` must say the same. None where that is not known.

    Raises:
        BundleRejected: with every problem at once.
    """
    base = JobSpec(name=slug(default_name), gpus=defaults.gpus)
    problems = []
    if len(files) > 1:
        problems.append(Problem("bundle", f"it has both {JSON_FILE} and {TOML_FILE}", "Keep one of them."))
    for file, content in files.items():
        table, unread = read_table(file, content)
        base, wrong = spec_of_table(file, table, base, user, defaults)
        problems += unread + wrong
    if problems:
        raise refusal(problems)
    return base


def spec_of_table(
    file: str, table: Mapping[str, Any], base: JobSpec, user: str | None, defaults: SpecDefaults
) -> tuple[JobSpec, list[Problem]]:
    """`base` with all that a table says, which stands in a file of that name; and all that is wrong with it.

    `user` as for `read_spec`.
    """
    model: type[ContainerConfig | JobToml] = ContainerConfig if file == JSON_FILE else JobToml
    problems = _refused_for_now(file, table) + _beyond(file, table, user, defaults)
    problems += slots_problems(file, _ask(file, table), defaults.slots_per_gpu)
    try:
        base = model.model_validate(_honoured(file, table)).to_spec(base)
        base = in_slots(base, _ask(file, table), defaults.slots_per_gpu)
    except ValidationError as error:
        problems += [_problem(file, model, item) for item in error.errors(include_url=False)]
    return base, problems


def _refused_for_now(file: str, table: Mapping[str, Any]) -> list[Problem]:
    """Keys of the contract that this version cannot honour: refused, since to ignore them would be to lie."""
    early = sorted(_NOT_YET & table.keys()) if file == TOML_FILE else []
    return [Problem(f"{file}: {key}", "this version cannot honour it yet", "Leave it out.") for key in early]


def _ask(file: str, table: Mapping[str, Any]) -> SlotsAsked:
    gpus_key, slots_key = ("num_gpus", "num_slots") if file == JSON_FILE else ("gpus", "slots")
    return SlotsAsked(slots_key, table.get(gpus_key), table.get(slots_key))


def _beyond(file: str, table: Mapping[str, Any], user: str | None, defaults: SpecDefaults) -> list[Problem]:
    """What this user, or anybody on this node, may not ask for."""
    problems = []
    executor, limit = table.get("executor_name"), table.get("time_limit")
    if file == JSON_FILE and user is not None and isinstance(executor, str) and executor != user:
        what = f"it says {shown(executor)}, but {shown(user)} handed the bundle in"
        problems.append(Problem(f"{file}: executor_name", what, f'Write "{user}", or leave it out.'))
    seconds = parse_duration(limit) if file == TOML_FILE and isinstance(limit, str) else None
    if seconds is not None and seconds > defaults.max_time_limit_s:
        what = f"{shown(limit)} is more than the {defaults.max_time_limit_s} seconds that this node allows"
        problems.append(Problem(f"{file}: time_limit", what, f'Write "{defaults.max_time_limit_s}s" or less.'))
    return problems


def _honoured(file: str, table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if file == JSON_FILE or key not in _NOT_YET}


def _problem(file: str, model: type[BaseModel], item: ErrorDetails) -> Problem:
    where = f"{file}: {'.'.join(map(_shown_key, item['loc']))}"
    if item["type"] == "extra_forbidden":
        in_run_params = len(item["loc"]) > 1
        return _unknown_key(where, str(item["loc"][-1]), RunParams if in_run_params else model)
    if item["type"] == "spec":
        return Problem(where, item["ctx"]["what"], item["ctx"]["instead"])
    wanted = _WANTED.get(item["type"], "Write a value of the right kind.").format(**item.get("ctx", {}))
    return Problem(where, f"{shown(item['input'])} does not fit", wanted)


def _shown_key(part: int | str) -> str:
    return str(part) if str(part).isidentifier() and len(str(part)) < _LONGEST_KEY else shown(part)


_WANTED = {
    "int_type": "Write a whole number, without quotes and without a decimal point.",
    "float_type": "Write a number, without quotes.",
    "string_type": 'Write text in quotes, such as "my-job".',
    "bool_type": "Write true or false, without quotes.",
    "model_type": 'Write a table, such as {{"command": "python3 train.py"}}.',
    "greater_than_equal": "Write {ge} or more.",
    "less_than_equal": "Write {le} or less.",
    "finite_number": "Write a finite number.",
    "literal_error": "Write one of these: {expected}.",
}


def _unknown_key(where: str, key: str, model: type[BaseModel]) -> Problem:
    known = sorted(model.model_fields)
    what = "a job may not set this" if model is RunParams else "no such key"
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    instead = f'Did you mean "{near[0]}"? ' if near else "Leave it out. "
    return Problem(where, what, f"{instead}Known here are: {', '.join(known)}.")
