"""No value of `run_params` changes any field of the container but the one that it names."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dopq.config import ContainerSettings, TemplatesSettings
from dopq.container_handler.container import container_request
from dopq.container_handler.container_config import JSON_FILE, SpecDefaults, read_spec
from dopq.container_handler.engine import ContainerRequest
from dopq.errors import BundleRejected
from dopq.job import GpuId, ImageId, Job, JobId, Lease, Queued, UserName, Work
from tests.intake.hostile_specs import refused_run_params

FIELD_OF = {
    "command": "command",
    "entrypoint": "entrypoint",
    "environment": "environment",
    "working_dir": "working_dir",
    "shm_size": "shm_bytes",
    "stop_signal": "stop_signal",
}
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def request(run_params: dict[str, object]) -> ContainerRequest:
    """The container of a job with these `run_params` and nothing else in its spec."""
    content = json.dumps({"run_params": run_params}).encode()
    spec = read_spec(
        {JSON_FILE: content},
        default_name="a",
        defaults=SpecDefaults(gpus=1, max_time_limit_s=100),
        user="ada",
    )
    work = Work(spec, ImageId("sha256:1"), NOW)
    lease = Lease(1, frozenset({GpuId("GPU-1")}), NOW)
    job = Job(JobId(7), UserName("ada"), "a.zip", "key", "a", NOW, Queued(work))
    folder = Path("/state/jobs/7")
    return container_request(
        job,
        work,
        lease,
        node_id="n",
        folder=folder,
        data=Path("/data"),
        settings=ContainerSettings(),
        templates=TemplatesSettings(),
    )


PLAIN = request({})

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)
docker_words = st.sampled_from(
    [
        "--privileged", "host", "container:x", "/:/host", "all", "root", "1g", "/app", "SIGINT", "A=1", ["A=1", "B=2"],
        ["sh", "-c", "x"], {"A": "1"}, {"/": {"bind": "/host", "mode": "rw"}}, [{"Driver": "nvidia", "Count": -1}],
    ]
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(sorted(FIELD_OF)), values | docker_words, min_size=1, max_size=3))
@example({"command": "x --privileged --gpus all"})
@example({"environment": {"DOPQ": "1", "dopq_job": "8", "NVIDIA": "all"}})
def test_what_a_job_may_set_changes_its_own_field_alone(run_params: dict[str, object]) -> None:
    try:
        made = request(run_params)
    except BundleRejected:
        return
    changed = {field.name for field in fields(made) if getattr(made, field.name) != getattr(PLAIN, field.name)}
    assert changed <= {FIELD_OF[key] for key in run_params}
    ours = {key: value for key, value in made.environment.items() if key in PLAIN.environment}
    assert ours == PLAIN.environment


@given(st.sampled_from(refused_run_params()), values | docker_words)
def test_everything_else_that_docker_takes_is_refused_by_its_name(key: str, value: object) -> None:
    with pytest.raises(BundleRejected, match=rf"run_params\.{key}: a job may not set this"):
        request({key: value})


@given(st.text(min_size=1, max_size=20).filter(lambda key: key not in FIELD_OF), values)
def test_any_other_word_is_refused(key: str, value: object) -> None:
    with pytest.raises(BundleRejected, match="a job may not set this"):
        request({key: value})


def test_every_argument_of_docker_py_is_known_here() -> None:
    assert len(refused_run_params()) + len(FIELD_OF) >= 80
