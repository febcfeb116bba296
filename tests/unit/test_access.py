"""The table of calls, roles and ownership, tried out row by row: the exact code of each refusal, and nothing changed.

Every case is made from `tests/access_table.py`. They go through the fixture `calling` alone: here to the guard, and in
`tests/integration/test_access_over_tcp.py`, which has all of them once more, through the whole boundary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from dopq.access import calls
from dopq.controller import DopqController
from dopq.controller.peers import PeerDesk
from dopq.errors import DopqError
from dopq.job import GpuId, ImageId, Job, JobSpec, Problem, Reason, StateName, UserName
from dopq.wire import PUBLIC
from tests.access_table import PEERS_TABLE, TABLE, parameters
from tests.in_memory_node import InMemoryNode

Call = Callable[..., Any]
"""`call(who, method, *arguments)`: what a service answers; `who`: a user's name, or None for a stranger."""

Calling = Callable[[InMemoryNode], Call]

SECRET = "s3cr3t"
"""In everything of anna's job that is hers alone."""

OF_USERS = sorted(name for name, (who, _, _) in TABLE.items() if who != "anybody")
OF_ADMINS = sorted(name for name, (who, _, _) in TABLE.items() if who == "admin")
OWN = sorted(name for name, (_, whose, _) in TABLE.items() if whose.startswith("own"))


# --- a node with something of everything, and who calls it ---


@pytest.fixture(scope="module")
def shared_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InMemoryNode]:
    """One node for all that is refused: each refusal leaves it as the next one needs it."""
    yield from furnished(tmp_path_factory.mktemp("node"))


@pytest.fixture
def node(tmp_path: Path) -> Iterator[InMemoryNode]:
    yield from furnished(tmp_path)


def furnished(folder: Path) -> Iterator[InMemoryNode]:
    """Jobs of anna's in all kinds of states, with her secret in all of what is hers."""
    node = InMemoryNode(folder)
    sentence = Reason("exited", f"It ended with {SECRET}.")
    problem = Problem(f"{SECRET}.py", f"{SECRET} is missing", f"Add {SECRET}.")
    bundle, image = f"{SECRET}.zip", ImageId(f"sha256:{SECRET}")
    keys = count()

    def building() -> Job:
        return node.platform.accept(UserName("anna"), bundle, f"key-{next(keys)}", "train")

    def queued(gpus: int = 0) -> Job:
        spec = JobSpec("train", gpus=gpus, environment=((SECRET, SECRET),), command=(SECRET,))
        return node.platform.enqueue(building().id, spec, image, has_input=False)

    failed = node.platform.begin(queued().id, frozenset())
    node.leaves(failed, "job.log", SECRET.encode())
    node.leaves(failed, f"output/{SECRET}.txt", SECRET.encode())
    node.platform.finish(failed.id, StateName.FAILED, sentence, at=node.clock.now(), exit_code=77)
    node.platform.reject(building().id, StateName.INVALID, sentence, (problem,))
    node.platform.hold(building().id, sentence)
    node.platform.begin(queued(gpus=1).id, frozenset({GpuId("GPU-1")}))
    queued()
    node.queued("bert", "berts")
    yield node
    node.platform.assert_consistent()
    node.close()


@pytest.fixture
def calling() -> Calling:
    """How a node is called."""

    def calling(node: InMemoryNode) -> Call:
        return lambda who, method, *arguments: node.link(node.tokens[who] if who else None).call(method, *arguments)

    return calling


@pytest.fixture
def call(shared_node: InMemoryNode, calling: Calling) -> Call:
    return calling(shared_node)


def everything(node: InMemoryNode) -> dict[str, object]:
    """All that a call could have changed: every row, every file, and what is only in memory."""
    tables = [str(row[0]) for row in node.database.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
    files = [path for path in sorted(node.folder.rglob("*")) if path.is_file() and "journal" not in path.name]
    return {
        **{table: node.database.rows(f"SELECT * FROM {table}") for table in tables},
        **{str(path): path.read_bytes() for path in files},
        "alive": node.platform.alive(),
        "queue": node.platform.get_dopq_status(),
        "stopped": node.stopped,
    }


def refused(node: InMemoryNode, call: Call, who: str | None, method: str, *arguments: object) -> DopqError:
    before = everything(node)
    with pytest.raises(DopqError) as error:
        call(who, method, *arguments)
    assert everything(node) == before
    assert SECRET not in f"{error.value} {error.value.details}"
    return error.value


def arguments_for(method: str, reference: str) -> list[object]:
    """Good arguments, about the job that is meant."""
    return [
        reference if name == "reference" else GOOD[name](reference) for name in parameters(method, all_of_them=False)
    ]


GOOD: dict[str, Callable[[str], object]] = {
    "after_seq": lambda _: 0,
    "build": lambda _: False,
    "bundle": lambda _: "iris.zip",
    "data": lambda _: b"x",
    "drain": lambda _: True,
    "email": lambda _: "carl@example.org",
    "invite": lambda _: None,
    "key": lambda _: "laptop-0001",
    "length": lambda _: 10,
    "lock": lambda _: True,
    "name": lambda _: "carl",
    "node": lambda _: "gpu9",
    "new": lambda _: "new password of carl",
    "old": lambda _: "old password of carl",
    "password": lambda _: "some password of carl",
    "offset": lambda _: 0,
    "path": lambda _: "job.log",
    "references": lambda reference: [reference],
    "sha256": lambda _: "0" * 64,
    "size": lambda _: 5,
    "ssh_key": lambda _: None,
    "uid": lambda _: None,
    "wait_s": lambda _: 0.0,
}

NO_TEXT: list[object] = [None, True, 1, 1.5, b"text", [], {}, ["text"], {"a": "text"}]
NO_INT: list[object] = [None, True, "1", 1.5, b"1", [], {}, -1, 2**63]
NO_BOOL: list[object] = [None, 0, 1, "true", b"", [], {}]
NO_SPAN: list[object] = [None, True, "1", b"1", [], {}, -1.0, 1e9, float("nan"), float("inf")]
WRONG: dict[str, list[object]] = {
    "after_seq": [None, True, "1", 1.5, b"1", [], {}],
    "build": NO_BOOL,
    "bundle": [*NO_TEXT, "", ".", "..", ".x", "a/b.zip", "a\nb.zip", "a\x1b.zip", "\0", "n" * 201],
    "data": [None, True, 1, "text", [], {}, b"x" * (256 * 1024 + 1)],
    "drain": NO_BOOL,
    "email": [*NO_TEXT, "x" * 255],
    "invite": [*NO_TEXT[1:], "x" * 201],
    "key": [*NO_TEXT, "", "short", "k" * 101],
    "length": [*NO_INT, 0, 10**9],
    "limit": [*NO_INT, 0, 10_001],
    "lock": NO_BOOL,
    "mine": NO_BOOL,
    "minutes": [*NO_SPAN, 0.0],
    "name": [*NO_TEXT, "x" * 255],
    "hops": [*NO_INT, 0, 9],
    "new": [*NO_TEXT, "x" * 201],
    "node": [*NO_TEXT, "", "x" * 64],
    "offset": NO_INT,
    "old": [*NO_TEXT, "x" * 201],
    "password": [*NO_TEXT, "x" * 201],
    "path": [*NO_TEXT, "x" * 4097],
    "reason": [*NO_TEXT, "r" * 201],
    "reference": [*NO_TEXT, "", "x" * 101],
    "references": [None, True, 1, "1", b"1", {}, [1], [None], [["1"]], [""], ["x" * 101], ["1"] * 1001],
    "sha256": [*NO_TEXT, "", "0" * 63, "0" * 65, "A" * 64, "g" * 64],
    "size": NO_INT,
    "ssh_key": [*NO_TEXT[1:], "x" * 20_000],
    "uid": [True, "1", 1.5, b"1", [], {}],
    "wait_s": NO_SPAN,
}
NOBODYS_JOB = [
    "0", "99", "9" * 15, "-1", "1.0", "\uff11", " ", "@~999999", "@@", "nothing", "[/]", "[bold]", "../1", "1\0", "%s", "*", "_",
    "' OR 1=1 --", "\x1b]8;;http://a\x07", "\x9b31m", "\u202e1", "\u200b1", "e\u0301" * 50, "x" * 100,
]  # fmt: skip
WRONG_ARGUMENTS = [
    pytest.param(method, name, number, id=f"{method}-{name}-{number}")
    for method in sorted(TABLE)
    for name in parameters(method)
    for number in range(len(WRONG[name]))
]


# --- the table ---


def test_the_table_in_the_code_is_the_one_that_was_agreed_upon() -> None:
    for face, agreed in ((DopqController, TABLE), (PeerDesk, PEERS_TABLE)):
        assert {name: (row.access, row.whose, row.changes) for name, row in calls(face).items()} == agreed


@pytest.mark.parametrize("method", OF_USERS)
def test_a_stranger_is_told_to_log_in(shared_node: InMemoryNode, call: Call, method: str) -> None:
    assert refused(shared_node, call, None, method, *arguments_for(method, "1")).code == "not_logged_in"


@pytest.mark.parametrize("method", OF_ADMINS)
def test_a_user_may_not_what_admins_may(shared_node: InMemoryNode, call: Call, method: str) -> None:
    assert refused(shared_node, call, "bert", method, *arguments_for(method, "1")).code == "not_allowed"


@pytest.mark.parametrize("job", range(1, 6))
@pytest.mark.parametrize("method", OWN)
def test_nobody_acts_on_anothers_job_in_whatever_state(
    shared_node: InMemoryNode, call: Call, method: str, job: int
) -> None:
    assert refused(shared_node, call, "bert", method, *arguments_for(method, str(job))).code == "not_allowed"


@pytest.mark.parametrize("method", OWN)
def test_an_admin_acts_on_everybodys_jobs_but_where_the_caller_is_charged(
    node: InMemoryNode, calling: Calling, method: str
) -> None:
    call = calling(node)
    job = 5 if TABLE[method][2] and method != "rerun_job" else 1
    arguments = arguments_for(method, str(job))
    if TABLE[method][1] == "own alone":
        assert refused(node, call, "olga", method, *arguments).code == "not_allowed"
    elif method == "release_job":
        assert call("olga", "hold_job", str(job))["state"] == "held"
        assert call("olga", method, *arguments)["state"] == "queued"
    else:
        assert call("olga", method, *arguments)


@pytest.mark.parametrize("method", sorted(name for name in set(TABLE) - set(OF_USERS) if not TABLE[name][2]))
def test_what_anybody_may_strangers_may(shared_node: InMemoryNode, call: Call, method: str) -> None:
    before = everything(shared_node)
    assert call(None, method, *arguments_for(method, "1"))
    assert everything(shared_node) == before


@pytest.mark.parametrize(
    ("method", "code"),
    [("login", "login_refused"), ("logout", "not_logged_in"), ("change_password", "not_logged_in")],
)
def test_strangers_change_nobodys_account(shared_node: InMemoryNode, call: Call, method: str, code: str) -> None:
    assert refused(shared_node, call, None, method, *arguments_for(method, "1")).code == code


@pytest.mark.parametrize("method", sorted(name for name, (_, _, changes) in TABLE.items() if not changes))
def test_what_changes_nothing_changes_nothing(shared_node: InMemoryNode, call: Call, method: str) -> None:
    before = everything(shared_node)
    # An upload is needed for the one, and other nodes for the other.
    if method not in {"send_chunk", "refresh_nodes"}:
        call("anna", method, *arguments_for(method, "1"))
    assert everything(shared_node) == before


# --- what others see of a job ---


@pytest.mark.parametrize("method", sorted(TABLE))
def test_of_anothers_job_nobody_learns_what_is_not_public(node: InMemoryNode, calling: Calling, method: str) -> None:
    """Every call, about each of anna's jobs; what it answers, and the words in which it refuses."""
    call = calling(node)
    for job in range(1, 6):
        try:
            told = call("bert", method, *arguments_for(method, str(job)))
        except DopqError as error:
            told = (str(error), error.details)
        assert SECRET not in str(told)
        assert "iris.zip.part" not in str(told), "a drop in anna's inbox"


def test_the_secret_would_be_seen_by_its_owner(node: InMemoryNode, calling: Calling) -> None:
    """Else the test above could not fail."""
    call = calling(node)
    for method in ("get_job", "get_explanation", "get_report", "list_results", "get_containers_history_info"):
        assert SECRET in str(call("anna", method, *arguments_for(method, "1")))
    assert "iris.zip.part" in str(call("anna", "get_dopq_system_status"))


def test_public_are_id_name_user_state_gpus_and_times_alone(call: Call) -> None:
    mine, others = (call(who, "get_job", "1") for who in ("anna", "bert"))
    assert set(others) == set(mine), "each field is there"
    assert {field: value for field, value in others.items() if value is not None} == {
        field: value for field, value in mine.items() if field in PUBLIC and value is not None
    }
    assert set(PUBLIC) == {
        *("id", "name", "user", "state", "kind", "node", "num_gpus", "num_slots", "gpus"),
        *("submitted_at", "queued_at", "started_at", "finished_at", "position", "eta"),
    }


def test_an_admin_sees_all_of_every_job(call: Call) -> None:
    assert call("olga", "get_job", "1") == call("anna", "get_job", "1")


# --- wrong types, sizes and text ---


@pytest.mark.parametrize(("method", "name", "number"), WRONG_ARGUMENTS)
def test_a_wrong_argument_is_the_callers_mistake(
    shared_node: InMemoryNode, call: Call, method: str, name: str, number: int
) -> None:
    arguments = dict(zip(parameters(method), [*arguments_for(method, "1"), *fillers(method)], strict=True))
    arguments[name] = WRONG[name][number]
    error = refused(shared_node, call, "olga", method, *arguments.values())
    assert error.code == "bad_request"
    assert len(error.message) < 1000, "what came in is not sent back"


def fillers(method: str) -> list[object]:
    """Good arguments for those that may be left out."""
    optional = {"limit": 5, "mine": False, "reason": "new disks", "minutes": 5.0, "hops": 1} | dict.fromkeys(
        ("uid", "ssh_key", "invite")
    )
    return [optional[name] for name in parameters(method)[len(parameters(method, all_of_them=False)) :]]


@pytest.mark.parametrize("method", sorted(TABLE))
def test_too_many_and_too_few_arguments_are_the_callers_mistake(
    shared_node: InMemoryNode, call: Call, method: str
) -> None:
    needed = parameters(method, all_of_them=False)
    wrong = [[*arguments_for(method, "1"), *fillers(method), "one more"], *([[]] if needed else [])]
    for arguments in wrong:
        assert refused(shared_node, call, "olga", method, *arguments).code == "bad_request"


@pytest.mark.parametrize("reference", NOBODYS_JOB)
@pytest.mark.parametrize(
    "method", sorted(name for name in TABLE if {"reference", "references"} & set(parameters(name)))
)
def test_a_job_that_there_is_not_is_not_found_whatever_it_is_called(
    shared_node: InMemoryNode, call: Call, method: str, reference: str
) -> None:
    assert refused(shared_node, call, "anna", method, *arguments_for(method, reference)).code == "not_found"


@pytest.mark.parametrize(
    "path", ["", ".", "..", "/", "/etc/passwd", "../1/job.log", "output/../job.log", "\0", "x\ny", "[/]"]
)
def test_nothing_is_read_from_beside_a_jobs_results(shared_node: InMemoryNode, call: Call, path: str) -> None:
    assert refused(shared_node, call, "anna", "read_result", "1", path, 0, 10).code == "not_found"
