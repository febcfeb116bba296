"""The controller: what its answers promise to whoever holds on to them."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dopq.caller import Caller
from dopq.controller import DopqController
from dopq.errors import LoginRefused, NotAllowed, NotFound, UserError
from dopq.invites import Invites
from dopq.job import ImageId, Job, JobSpec, Reason, StateName
from dopq.registrations import Registrations
from dopq.room import Capacity
from dopq.uploads import Uploads
from dopq.users import Role, User
from tests.neighbours import lone
from tests.platforms import ANNA, BERT, OLGA, Home

KEY = "laptop-0001"
DATA = b"zip" * 100
SHA256 = hashlib.sha256(DATA).hexdigest()


class Desk:
    """A controller and its callers."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder)
        self.stopped = threading.Event()
        self.controller = DopqController(
            platform=self.home.platform,
            results=self.home.results,
            uploads=Uploads(self.home.paths.uploads, self.home.paths.spool, 2000, lambda _bytes: None),
            system=lambda: {"node": "node1"},
            nodes=lone(folder),
            request_shutdown=self.stopped.set,
            limits={"max_bundle_bytes": 2000},
            accounts=self.home.accounts,
        )

    def user(self, name: str) -> User:
        user = self.home.users.by_name(name)
        assert user
        return user

    @property
    def anna(self) -> User:
        return self.user(ANNA)

    @property
    def bert(self) -> User:
        return self.user(BERT)

    @property
    def olga(self) -> User:
        return self.user(OLGA)

    def hand_in(self, bundle: str = "iris.zip", key: str = KEY) -> dict[str, Any]:
        if self.controller.begin_upload(self.anna, key, len(DATA))["received"] < len(DATA):
            self.controller.send_chunk(self.anna, key, 0, DATA)
        return self.controller.submit(self.anna, key, bundle, SHA256)

    def log(self, job: Job, text: bytes, name: str = "job.log") -> None:
        with (self.home.outbox.folder(job) / name).open("ab") as file:
            file.write(text)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.home.platform.assert_consistent()
    desk.home.close()


# --- handing in ---


def test_a_bundle_that_is_handed_in_is_a_job_of_its_user(desk: Desk) -> None:
    job = desk.hand_in()
    assert (job["user"], job["state"], job["name"], job["bundle"]) == (ANNA, "building", "iris", "iris.zip")
    (spooled,) = desk.home.paths.spool.iterdir()
    assert spooled.read_bytes() == DATA
    assert desk.home.platform.job(job["id"]).key == spooled.name


def test_submitting_twice_answers_with_the_same_job(desk: Desk) -> None:
    first = desk.hand_in()
    assert desk.controller.submit(desk.anna, KEY, "iris.zip", SHA256)["id"] == first["id"]
    assert desk.hand_in()["id"] == first["id"]


def test_submitting_again_answers_with_the_same_job_though_it_has_ended_and_its_bundle_is_gone(desk: Desk) -> None:
    first = desk.hand_in()
    desk.home.platform.reject(first["id"], StateName.INVALID, Reason("bundle_rejected", "No."))
    for bundle in desk.home.paths.spool.iterdir():
        bundle.unlink()  # as the publisher does once it has given the bundle back
    again = desk.controller.submit(desk.anna, KEY, "iris.zip", SHA256)
    assert (again["id"], again["state"]) == (first["id"], "invalid")


def test_another_users_same_key_is_another_job(desk: Desk) -> None:
    desk.hand_in()
    with pytest.raises(NotFound):
        desk.controller.submit(desk.bert, KEY, "iris.zip", SHA256)


def test_nothing_is_submitted_that_was_not_sent_whole(desk: Desk) -> None:
    desk.controller.begin_upload(desk.anna, KEY, len(DATA))
    desk.controller.send_chunk(desk.anna, KEY, 0, DATA[:10])
    with pytest.raises(UserError, match="damaged"):
        desk.controller.submit(desk.anna, KEY, "iris.zip", SHA256)
    assert desk.home.platform.alive() == []


# --- logs ---


def read(desk: Desk, job: Job, offset: int = 0, length: int = 100, *, build: bool = False, wait_s: float = 0.0) -> Any:
    return desk.controller.read_log(desk.anna, str(job.id), build, offset, length, wait_s)


def test_a_log_is_complete_only_when_no_byte_will_follow(desk: Desk) -> None:
    job = desk.home.running()
    assert read(desk, job) == {"data": b"", "complete": False, "state": "running"}
    desk.log(job, b"epoch 1\n")
    assert read(desk, job) == {"data": b"epoch 1\n", "complete": False, "state": "running"}
    desk.home.platform.finish(job.id, StateName.SUCCEEDED, Reason("x", "x"), at=desk.home.clock.now())
    assert read(desk, job, length=8) == {"data": b"epoch 1\n", "complete": False, "state": "succeeded"}
    assert read(desk, job, offset=8) == {"data": b"", "complete": True, "state": "succeeded"}
    assert read(desk, job, length=100)["complete"]


def test_a_build_log_is_complete_when_the_job_is_in_the_queue(desk: Desk) -> None:
    job = desk.home.building()
    desk.log(job, b"Step 1\n", "build.log")
    assert not read(desk, job, build=True)["complete"]
    queued = desk.home.platform.enqueue(job.id, JobSpec("iris"), ImageId("sha256:0"), has_input=False)
    desk.home.outbox.folder(queued)
    assert read(desk, job, build=True) == {"data": b"Step 1\n", "complete": True, "state": "queued"}
    assert not read(desk, job)["complete"]


def test_a_job_that_never_had_a_log_has_an_empty_complete_one(desk: Desk) -> None:
    job = desk.home.queued()
    desk.home.platform.cancel(job.id, "anna")
    assert read(desk, job, wait_s=5.0) == {"data": b"", "complete": True, "state": "cancelled"}


def test_waiting_for_a_log_ends_when_there_is_news(desk: Desk) -> None:
    job = desk.home.running()
    writer = threading.Timer(0.15, desk.log, (job, b"epoch 1\n"))
    writer.start()
    assert read(desk, job, wait_s=5.0)["data"] == b"epoch 1\n"
    writer.join()


def test_waiting_for_a_log_ends_when_the_job_ends(desk: Desk) -> None:
    job = desk.home.running()
    end = threading.Timer(
        0.15,
        lambda: desk.home.platform.finish(job.id, StateName.LOST, Reason("x", "x"), at=desk.home.clock.now()),
    )
    end.start()
    assert read(desk, job, wait_s=5.0)["complete"]
    end.join()


def test_waiting_for_a_log_in_vain_takes_no_longer_than_asked(desk: Desk) -> None:
    job = desk.home.running()
    assert read(desk, job, wait_s=0.1)["data"] == b""


# --- results ---


def test_results_are_listed_and_read_by_their_owner_and_admins_alone(desk: Desk) -> None:
    job = desk.home.ended()
    desk.log(job, b"epoch 1\n")
    for caller in (desk.anna, desk.olga):
        assert desk.controller.list_results(caller, str(job.id)) == [
            {"path": "job.log", "size": 8, "executable": False}
        ]
        assert desk.controller.read_result(caller, str(job.id), "job.log", 6, 100) == b"1\n"
        assert "State:        succeeded" in desk.controller.get_report(caller, str(job.id))
    for call in (
        lambda: desk.controller.list_results(desk.bert, str(job.id)),
        lambda: desk.controller.read_result(desk.bert, str(job.id), "job.log", 0, 1),
        lambda: desk.controller.get_report(desk.bert, str(job.id)),
        lambda: desk.controller.get_job_story(desk.bert, str(job.id)),
        lambda: desk.controller.read_log(desk.bert, str(job.id), False, 0, 1, 0.0),
    ):
        with pytest.raises(NotAllowed, match="belongs to anna"):
            call()


def test_everybody_sees_how_everybodys_jobs_stand(desk: Desk) -> None:
    job = desk.home.running()
    assert desk.controller.get_job(desk.bert, str(job.id))["state"] == "running"
    assert [it["id"] for it in desk.controller.get_running_containers_info(desk.bert)] == [job.id]


def test_the_story_of_a_job_is_told_in_order(desk: Desk) -> None:
    job = desk.home.ended()
    story = desk.controller.get_job_story(desk.anna, str(job.id))
    assert [it["new"] for it in story] == ["building", "queued", "starting", "running", "succeeded"]
    assert story[0]["old"] is None


# --- views ---


def test_the_history_is_all_or_only_mine(desk: Desk) -> None:
    annas, berts = desk.home.ended(), desk.home.ended(user=BERT)
    history = desk.controller.get_containers_history_info
    assert [job["id"] for job in history(desk.anna)] == [berts.id, annas.id]
    assert [job["id"] for job in history(desk.anna, mine=True)] == [annas.id]
    assert [job["id"] for job in history(desk.anna, 1)] == [berts.id]
    assert desk.controller.clear_dopq_history(desk.olga) == 2
    assert history(desk.anna) == []
    assert desk.controller.get_job(desk.anna, str(annas.id))["state"] == "succeeded"


def test_the_queue_is_shown_in_its_order_with_what_is_still_built_at_the_end(desk: Desk) -> None:
    building = desk.home.building()
    second, first = desk.home.queued(ANNA, priority=-1, gpus=0), desk.home.queued(ANNA, gpus=0)
    desk.home.running(BERT)
    desk.home.platform.decide(Capacity(places=1))
    queue = desk.controller.get_enqueued_containers_info(desk.anna)
    assert [(job["id"], job["position"]) for job in queue] == [(first.id, 1), (second.id, 2), (building.id, None)]


def test_the_system_says_how_the_queue_stands(desk: Desk) -> None:
    desk.home.running()
    status = desk.controller.get_dopq_system_status(desk.anna)
    assert status["queue"]["jobs"] == {"running": 1}
    assert status["queue"]["lock"] is None


def test_a_lock_has_an_owner_a_reason_and_an_end(desk: Desk) -> None:
    lock = desk.controller.dopq_system_lock(desk.olga, True, "new disks", 30.0)["lock"]
    assert lock == {"owner": OLGA, "reason": "new disks", "until": "2026-01-05T09:30:00.000Z"}
    assert desk.controller.dopq_system_lock(desk.olga, False)["lock"] is None


# --- cancelling ---


def test_cancelling_twice_is_fine_and_a_finished_job_stays_finished(desk: Desk) -> None:
    job, done = desk.home.queued(), desk.home.ended()
    for _ in range(2):
        assert desk.controller.cancel_job(desk.anna, str(job.id))["state"] == "cancelled"
    with pytest.raises(UserError, match="ended already"):
        desk.controller.cancel_job(desk.anna, str(done.id))


def test_taking_jobs_out_of_the_queue_leaves_those_that_run(desk: Desk) -> None:
    running, queued = desk.home.running(), desk.home.queued()
    references = [str(running.id), str(queued.id), str(queued.id)]
    taken = desk.controller.delete_req_enqueued_containers(desk.anna, references)
    assert {job["id"] for job in taken} == {queued.id}
    assert desk.home.platform.job(running.id) == running


def test_shutting_down_answers_before_it_happens(desk: Desk) -> None:
    assert desk.controller.shutdown_queue(desk.olga)["node"] == "node1"
    assert desk.stopped.is_set()


def test_waiting_for_a_change_answers_with_the_newest_entry_also_after_a_restart(desk: Desk) -> None:
    desk.home.ended()
    newest = desk.controller.wait_for_change(desk.anna, 0, 0.0)
    assert newest == desk.home.journal.last_seq()
    assert desk.home.restart().wait_for_change(newest, 0.0) == newest


# --- accounts ---


def test_a_person_registers_logs_in_changes_the_password_and_logs_out(desk: Desk) -> None:
    laptop = Caller(None, "192.0.2.7")
    password, new = "correct horse battery", "battery horse correct"
    assert desk.controller.register(laptop, "cleo", password, "cleo@lab", 1234) == {"state": "pending"}
    Registrations(desk.home.database).approve("cleo", role=Role.USER, weight=2.0, uid=0, now=desk.home.clock.now())

    def comes(token: str) -> Caller:
        return Caller(desk.home.logins.by_token(token), "192.0.2.7", token=token)

    first = desk.controller.login(laptop, "cleo", password)
    cleo = comes(first["token"]).user
    assert cleo is not None
    assert desk.controller.whoami(cleo) == {
        "user": "cleo",
        "role": "user",
        "weight": 2.0,
        "email": "cleo@lab",
        "uid": 0,
        "expires_at": first["expires_at"],
    }
    second = desk.controller.change_password(comes(first["token"]), password, new)
    assert comes(first["token"]).user is None
    desk.controller.logout(comes(second["token"]))
    assert comes(second["token"]).user is None
    with pytest.raises(LoginRefused):
        desk.controller.login(laptop, "cleo", password)


def test_an_invite_makes_a_registration_a_user_at_once(desk: Desk) -> None:
    invite = Invites(desk.home.database).make(role=Role.USER, weight=1.0, days=1, now=desk.home.clock.now())
    laptop = Caller(None, "192.0.2.7")
    answer = desk.controller.register(laptop, "cleo", "correct horse battery", "cleo@lab", invite=invite.code)
    assert answer == {"state": "active"}
    assert desk.home.welcomed == ["cleo"]
