"""What a client does while its node is away."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import pytest

from dopq.errors import NotFound, ServiceUnreachable
from dopq_client.patience import PAUSE_S, PatientLink


class Answers:
    """A link that gives these answers, one a call; errors are raised."""

    def __init__(self, *answers: object) -> None:
        self.left = deque(answers)

    def call(self, method: str, *arguments: object) -> Any:
        answer = self.left.popleft()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        self.left.clear()


AWAY = ServiceUnreachable("It is away.")


def test_it_asks_again_until_the_node_is_back() -> None:
    assert PatientLink(Answers(AWAY, AWAY, 7)).call("wait_for_change", 1, 0.0) == 7


def test_patience_has_an_end() -> None:
    link = Answers(AWAY, AWAY, 7)
    with pytest.raises(ServiceUnreachable):
        PatientLink(link, patience_s=PAUSE_S / 2).call("get_job", "1")
    assert len(link.left) == 2


def test_patience_ends_at_the_callers_deadline() -> None:
    link = Answers(AWAY, 7)
    with pytest.raises(ServiceUnreachable):
        PatientLink(link, deadline=time.monotonic()).call("get_job", "1")
    assert list(link.left) == [7]


def test_what_must_not_be_done_twice_is_asked_once() -> None:
    link = Answers(AWAY, 7)
    with pytest.raises(ServiceUnreachable):
        PatientLink(link).call("cancel_job", "1")
    assert list(link.left) == [7]


def test_a_refusal_is_an_answer() -> None:
    link = Answers(NotFound("There is none."), 7)
    with pytest.raises(NotFound):
        PatientLink(link).call("get_job", "1")
    assert list(link.left) == [7]
