"""What a job's container is created from, whoever owns the service and whatever the image says."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from dopq.config import ContainerSettings, TemplatesSettings
from dopq.container_handler.container import container_name, container_request, is_of_node, job_user
from dopq.container_handler.engine import ContainerName, ContainerRequest
from dopq.job import ImageId, Job, JobId, JobSpec, Lease, Queued, UserName, Work

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


def request(user: str | None = None, **spec: object) -> ContainerRequest:
    work = Work(JobSpec(name="j", **spec), ImageId("sha256:1"), NOW)  # type: ignore[arg-type]
    return container_request(
        Job(JobId(1), UserName("ada"), "b.zip", "key", "j", NOW, Queued(work)),
        work,
        Lease(1, frozenset(), NOW),
        node_id="n",
        folder=Path("/jobs/1"),
        data=None,
        settings=ContainerSettings(),
        templates=TemplatesSettings(),
        user=user,
    )


def test_jobs_of_a_service_that_is_root_run_as_nobody() -> None:
    assert job_user("auto", service=(0, 0)) == "65534:65534"


def test_jobs_of_any_other_service_run_as_itself_so_that_it_may_move_what_they_write() -> None:
    assert job_user("auto", service=(1000, 100)) == "1000:100"


def test_an_admin_says_whom_jobs_run_as_or_leaves_it_to_the_image() -> None:
    assert job_user("2000:3000", service=(0, 0)) == "2000:3000"
    assert job_user("", service=(0, 0)) is None


def test_another_user_gets_a_home_that_it_may_write_to() -> None:
    assert request("65534:65534").user == "65534:65534"
    assert request("65534:65534").environment["HOME"] == "/tmp"
    assert "HOME" not in request(None).environment
    caches = {name: text for name, text in request("65534:65534").environment.items() if "CACHE" in name}
    assert len(caches) >= 4
    assert all(text.startswith("/tmp/") for text in caches.values())
    assert not [name for name in request(None).environment if "CACHE" in name]


def test_a_home_of_ones_own_counts() -> None:
    assert request("65534:65534", environment=(("HOME", "/output"),)).environment["HOME"] == "/output"


def test_a_node_knows_the_names_that_it_gives() -> None:
    assert is_of_node("lab.1", container_name("lab.1", JobId(12), 3))


@pytest.mark.parametrize(
    "name", ["dopq-lab.1-12", "dopq-lab.1-12-3x", "dopq-lab21-12-3", "x-dopq-lab.1-12-3", "hand-made", "dopq-lab.1-a-1"]
)
def test_a_node_takes_no_other_container_for_its_own(name: str) -> None:
    assert not is_of_node("lab.1", ContainerName(name))
