"""What crosses the wire: plain data in the contract's words, and errors that arrive as what they were."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dopq import errors
from dopq.band import Band
from dopq.errors import DopqError, NotFound, UserError
from dopq.job import (
    Building,
    Ended,
    GpuId,
    ImageId,
    Job,
    JobId,
    JobSpec,
    Lease,
    Problem,
    Queued,
    Reason,
    Running,
    State,
    StateName,
    Stopping,
    UserName,
    Work,
)
from dopq.wire import Place, Plain, error_from_wire, error_to_wire, job_to_wire, time_to_wire

NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
WORK = Work(JobSpec("iris", gpus=2, memory_bytes=2**30), ImageId("sha256:00"), NOON + timedelta(seconds=5))
LEASE = Lease(1, frozenset({GpuId("GPU-b"), GpuId("GPU-a")}), NOON + timedelta(seconds=10))

CONTRACT = [
    "id",
    "name",
    "user",
    "state",
    "kind",
    "node",
    "num_gpus",
    "num_slots",
    "gpus",
    "memory_bytes",
    "submitted_at",
    "queued_at",
    "started_at",
    "finished_at",
    "exit_code",
    "reason",
    "position",
    "eta",
    "penalty",
    "gpu_seconds",
    "image",
    "group",
]

ALL_ERRORS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, DopqError)]


def told(state: State, place: Place | None = None) -> Plain:
    job = Job(JobId(7), UserName("anna"), "iris.zip", "drop-1", "iris", NOON, state, seq=9)
    now = NOON + timedelta(seconds=30)
    return job_to_wire(job, node="lab1", now=now, place=place, penalty=1.5, slots_per_gpu=1)


STATES: list[State] = [
    Building(),
    Queued(WORK),
    Running(WORK, LEASE, NOON),
    Stopping(WORK, LEASE, None, StateName.CANCELLED, Reason("cancelled", "Cancelled by anna."), NOON),
    Ended(StateName.INVALID, NOON, Reason("bundle_rejected", "No."), problems=(Problem("a", "b", "c"),)),
]


@pytest.mark.parametrize("state", STATES)
def test_a_job_has_every_key_of_the_contract_in_any_state(state: State) -> None:
    assert set(CONTRACT) <= told(state).keys()


@pytest.mark.parametrize("state", STATES)
def test_a_job_is_plain_data_for_msgpack_and_json(state: State) -> None:
    job = told(state)
    assert msgpack.unpackb(msgpack.packb(job)) == job
    assert json.loads(json.dumps(job, allow_nan=False)) == job


def test_what_is_absent_is_null() -> None:
    job = told(Building())
    absent = [
        "num_gpus",
        "num_slots",
        "memory_bytes",
        "queued_at",
        "started_at",
        "finished_at",
        "exit_code",
        "reason",
        "position",
        "image",
    ]
    assert [job[key] for key in absent] == [None] * len(absent)


def test_a_waiting_job_tells_its_place_and_reason() -> None:
    job = told(Queued(WORK), Place(3, Reason("waits_for_gpus", "Waits."), Band(60.0, 90.0, 600.0)))
    assert job["eta"] == {"p10": 60.0, "p50": 90.0, "p90": 600.0}
    assert job["position"] == 3
    assert job["reason"] == {"code": "waits_for_gpus", "sentence": "Waits."}


def test_a_running_job_tells_its_gpus_and_what_it_used_so_far() -> None:
    job = told(Running(WORK, LEASE, NOON))
    assert job["gpus"] == ["GPU-a", "GPU-b"]
    assert job["gpu_seconds"] == 2 * 20.0


def test_an_ended_job_holds_no_gpus_and_tells_its_problems() -> None:
    end = Ended(
        StateName.FAILED,
        NOON + timedelta(seconds=20),
        Reason("x", "y"),
        3,
        WORK,
        LEASE,
        problems=(Problem("a", "b", "c"),),
    )
    job = told(end)
    assert job["gpus"] == []
    assert job["gpu_seconds"] == 2 * 10.0
    assert job["exit_code"] == 3
    assert job["problems"] == [{"where": "a", "what": "b", "instead": "c"}]


def test_times_are_utc_with_milliseconds() -> None:
    assert time_to_wire(NOON) == "2026-03-01T12:00:00.123Z"
    assert time_to_wire(NOON.astimezone(timezone(timedelta(hours=-8)))) == "2026-03-01T12:00:00.123Z"
    assert time_to_wire(None) is None


@pytest.mark.parametrize("kind", ALL_ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_arrives_as_its_own_class(kind: type[DopqError]) -> None:
    sent = kind("What and why.", "What to do.", count=3, names=["a"])
    arrived = error_from_wire(msgpack.unpackb(msgpack.packb(error_to_wire(sent))))
    assert type(arrived) is kind
    assert (arrived.code, arrived.message, arrived.hint, arrived.details) == (
        kind.code,
        "What and why.",
        "What to do.",
        {"count": 3, "names": ["a"]},
    )
    assert str(arrived) == "What and why. What to do."


def test_no_two_errors_share_a_code() -> None:
    codes = [kind.code for kind in ALL_ERRORS]
    assert len(codes) == len(set(codes))


def test_a_newer_servers_error_is_still_one_of_ours() -> None:
    arrived = error_from_wire({"code": "quota_exceeded", "message": "Too much.", "hint": "Less.", "new": 1})
    assert type(arrived) is DopqError
    assert str(arrived) == "Too much. Less."


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text() | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["code", "message", "hint", "details", "x"]), plain))
def test_whatever_a_broken_server_sends_becomes_an_error_of_ours(data: Plain) -> None:
    error = error_from_wire(data)
    assert isinstance(error, DopqError)
    assert isinstance(str(error), str)
    assert isinstance(error.details, dict)


def test_a_hint_is_optional() -> None:
    assert str(NotFound("No such job.")) == "No such job."
    assert isinstance(NotFound("x"), UserError)
