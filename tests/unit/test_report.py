"""The report on a job, as its user reads it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

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
    ResourceUse,
    StateName,
    UserName,
    Work,
)
from dopq.report import exit_code_in_words, report, status_text

NOON = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


WORK = Work(JobSpec("iris", gpus=2), ImageId("sha256:00"), after(2.5))
LEASE = Lease(1, frozenset({GpuId("GPU-b"), GpuId("GPU-a")}), after(60))
BUILDING = Job(JobId(7), UserName("anna"), "iris.zip", "drop-1", "iris", NOON, Building())
SUCCEEDED = replace(
    BUILDING,
    state=Ended(
        StateName.SUCCEEDED,
        after(3721),
        Reason("succeeded", "It ended with exit code 0."),
        exit_code=0,
        work=WORK,
        lease=LEASE,
        started_at=after(61),
        use=ResourceUse(12.34, 64 * 2**20, 83.4, 121 * 2**29, 80 * 2**30),
    ),
)
REFUSED = replace(
    BUILDING,
    state=Ended(
        StateName.INVALID,
        after(1),
        Reason("bundle_rejected", "The bundle was refused."),
        problems=(
            Problem("Dockerfile", "is not there", "Add one."),
            Problem("job.toml: gpus", "is -1", "Ask for 0 or more."),
        ),
    ),
)


def test_a_succeeded_job() -> None:
    assert report(SUCCEEDED) == (
        "Job:          7 'iris' of anna, from 'iris.zip'\n"
        "State:        succeeded\n"
        "Reason:       It ended with exit code 0.\n"
        "Exit code:    0: success\n"
        "Submitted:    2026-01-05 12:00:00 UTC\n"
        "Building:     2.5 s\n"
        "Waiting:      58.5 s\n"
        "Running:      1 h 01 min 00 s\n"
        "Finished:     2026-01-05 13:02:01 UTC\n"
        "GPUs:         GPU-a, GPU-b\n"
        "GPU time:     7322.0 GPU-seconds\n"
        "GPU use:      83 % on average, looked at every five seconds\n"
        "GPU memory:   60.5 of 80.0 GiB of a GPU at the peak\n"
        "CPU time:     12.3 s\n"
        "Memory peak:  64.0 MiB, sampled once a second\n"
    )


def test_a_refused_bundle() -> None:
    assert report(REFUSED) == (
        "Job:          7 'iris' of anna, from 'iris.zip'\n"
        "State:        invalid\n"
        "Reason:       The bundle was refused.\n"
        "Problem:      Dockerfile: is not there. Add one.\n"
        "Problem:      job.toml: gpus: is -1. Ask for 0 or more.\n"
        "Submitted:    2026-01-05 12:00:00 UTC\n"
        "Finished:     2026-01-05 12:00:01 UTC\n"
    )


def test_what_could_not_be_measured_is_said_not_to_be() -> None:
    assert isinstance(SUCCEEDED.state, Ended)
    text = report(replace(SUCCEEDED, state=replace(SUCCEEDED.state, use=ResourceUse())))
    assert "CPU time:     not measured\n" in text
    assert "Memory peak:  not measured\n" in text
    assert "GPU use:      not measured: it ended before anybody looked\n" in text
    use = ResourceUse(gpu_memory_peak_bytes=2**30, gpu_missing="the driver does not say")
    text = report(replace(SUCCEEDED, state=replace(SUCCEEDED.state, use=use)))
    assert "GPU use:      not measured: the driver does not say\n" in text
    assert "GPU memory:   1.0 GiB of a GPU at the peak\n" in text


def test_a_job_without_gpus_has_none() -> None:
    assert isinstance(SUCCEEDED.state, Ended)
    text = report(replace(SUCCEEDED, state=replace(SUCCEEDED.state, lease=replace(LEASE, gpus=frozenset()))))
    assert "GPUs:         none\n" in text
    assert "GPU time:     0.0 GPU-seconds\n" in text
    assert "GPU use" not in text


def test_a_job_in_any_state_has_a_report() -> None:
    assert "State:        building\n" in report(BUILDING)
    assert "Building:     2.5 s\n" in report(replace(BUILDING, state=Queued(WORK)))


def test_a_clock_that_stepped_back_gives_no_negative_duration() -> None:
    early = replace(WORK, queued_at=after(-100))
    assert "Building:     0.0 s\n" in report(replace(BUILDING, state=Queued(early)))


@pytest.mark.parametrize(
    ("code", "exit_code", "words"),
    [
        ("out_of_memory", 137, 'memory = "6GiB"'),
        ("killed", 137, "smaller batches"),
        ("time_limit", 143, "SIGTERM"),
        ("exit_code", 127, "spelling"),
        ("exit_code", 139, "CUDA"),
        ("exit_code", 3, "end of job.log"),
        ("gpu_lost", 1, "retries"),
        ("gpu_fault", 143, "retries"),
        ("gpu_idle", 143, "no GPU"),
        ("gpu_overrun", 143, "slots"),
        ("succeeded", 0, "0.1 of 4.0 GiB"),
    ],
)
def test_a_line_of_advice_says_what_would_help(code: str, exit_code: int, words: str) -> None:
    assert isinstance(SUCCEEDED.state, Ended)
    work = replace(WORK, spec=replace(WORK.spec, memory_bytes=4 << 30))
    state = replace(SUCCEEDED.state, reason=Reason(code, "So it was."), exit_code=exit_code, work=work)
    [line] = [it for it in report(replace(SUCCEEDED, state=state)).splitlines() if it.startswith("Advice:")]
    assert words in line


@pytest.mark.parametrize(
    ("use", "words"),
    [
        (
            ResourceUse(gpu_utilisation_percent=7.6, gpu_memory_peak_bytes=2**30, gpu_memory_bytes=2**34),
            "8 % of the time",
        ),
        (
            ResourceUse(gpu_utilisation_percent=80, gpu_memory_peak_bytes=2**30, gpu_memory_bytes=2**34),
            "1.0 of 16.0 GiB",
        ),
    ],
)
def test_gpus_that_mostly_waited_or_were_mostly_empty_are_named(use: ResourceUse, words: str) -> None:
    assert isinstance(SUCCEEDED.state, Ended)
    long = replace(SUCCEEDED, state=replace(SUCCEEDED.state, use=use))
    [line] = [it for it in report(long).splitlines() if it.startswith("Advice:")]
    assert words in line
    short = replace(SUCCEEDED, state=replace(SUCCEEDED.state, use=use, at=after(90)))
    assert "Advice" not in report(short), "nobody knows anything after half a minute"


def test_a_log_that_reached_its_limit_is_told() -> None:
    assert isinstance(SUCCEEDED.state, Ended)
    assert "Log:          it reached its limit" in report(
        replace(SUCCEEDED, state=replace(SUCCEEDED.state, log_full=True))
    )


def test_there_is_no_advice_where_nothing_went_wrong_and_nothing_was_wasted() -> None:
    assert "Advice" not in report(SUCCEEDED)
    assert "Advice" not in report(BUILDING)
    assert "Advice" not in report(REFUSED)


def test_a_time_limit_that_was_far_too_long_is_named() -> None:
    assert isinstance(SUCCEEDED.state, Ended)
    state = replace(SUCCEEDED.state, work=replace(WORK, spec=replace(WORK.spec, time_limit_s=100_000)))
    assert "a quarter of its time limit" in report(replace(SUCCEEDED, state=state))


def test_the_status_in_a_sentence() -> None:
    assert status_text(BUILDING) == "Job 7 (iris): building.\n"
    assert status_text(SUCCEEDED) == "Job 7 (iris): succeeded. It ended with exit code 0.\n"
    assert status_text(REFUSED) == (
        "Job 7 (iris): invalid. The bundle was refused.\n"
        "  - Dockerfile: is not there. Add one.\n"
        "  - job.toml: gpus: is -1. Ask for 0 or more.\n"
    )


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "success"),
        (3, "the program's own code"),
        (126, "executable bit"),
        (127, "not found"),
        (128, "the program's own code"),
        (130, "SIGINT"),
        (137, "SIGKILL"),
        (139, "SIGSEGV"),
        (143, "SIGTERM"),
        (254, "the program's own code"),
        (255, "the program's own code, or the engine was killed or restarted under the job"),
        (-1, "the program's own code"),
    ],
)
def test_an_exit_code_in_words(code: int, words: str) -> None:
    assert words in exit_code_in_words(code)
