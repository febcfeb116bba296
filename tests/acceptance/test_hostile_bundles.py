"""Every hostile bundle that we know, all at once, in the same inbox as good ones."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from pathlib import Path

from dopq_client.client import DopqClient
from tests.acceptance.conftest import MakeBundle
from tests.intake.corpus import CORPUS
from tests.intake.hostile import Hostile
from tests.intake.judging import RULES, USER, Snapshot, snapshot
from tests.node_process import MakeNode, NodeProcess
from tests.waiting import wait_until

GOOD = 10  # of each of the two users
QUEUED_WITHIN_S = 60.0
ALL_JUDGED_WITHIN_S = 240.0
LIMITS = (
    f"intake.max_unpacked_bytes={RULES.limits.unpacked_bytes}",
    f"intake.max_entries={RULES.limits.entries}",
)
OWN = re.compile(
    r"""(?sx)                                                   # names may hold line breaks
    node\.log | state | state/journal\.sqlite3(-wal|-shm)? | state/node\.json
    | state/(jobs|spool) | state/jobs/[0-9]+(/.*)? | state/spool/drop-[0-9a-f]{40}
    | share/(inbox|outbox|invalid|failed)/(ada|bob) | share/outbox/(ada|bob)/[0-9]+-[a-z0-9_.-]+(/.*)?"""
)
COVETED = [Path(folder, "evil") for folder in ("/", "/etc", "/etc/cron.d", "/tmp")]
JUDGED = [hostile for hostile in CORPUS if hostile.verdict == "invalid"]
DEFERRED = [hostile for hostile in CORPUS if hostile.verdict == "deferred"]


def test_hostile_bundles_hold_up_no_good_one_and_reach_nothing(
    make_node: MakeNode, bundle: MakeBundle, tmp_path: Path
) -> None:
    node = make_node(*LIMITS)
    node.start()
    staged = tmp_path / "staged"
    staged.mkdir()
    for hostile in CORPUS:
        hostile.write(staged / hostile.file)
    before = {hostile.file: _what(staged / hostile.file) for hostile in JUDGED}
    with node.add_user(USER), node.add_user("bob"), node.add_user("boss", role="admin") as boss:
        boss.lock("so that the good ones stay queued", minutes=30)
        good = [
            bundle(f"good-{user}-{n}.zip", "echo fine").rename(staged / f"good-{user}-{n}.zip")
            for user in (USER, "bob")
            for n in range(GOOD)
        ]
        wait_until(lambda: _provider(boss), 10.0)
        provider, listed = _provider(boss), _listing(tmp_path)
        for path in sorted(staged.iterdir(), key=lambda path: hashlib.sha256(bytes(path.name, "utf-8")).digest()):
            path.rename(node.share / "inbox" / ("bob" if "-bob-" in path.name else USER) / path.name)
        wait_until(lambda: _queued(boss) == len(good), QUEUED_WITHIN_S)
        invalid = node.share / "invalid" / USER
        wait_until(lambda: len(list(invalid.glob("*.reason.txt"))) >= len(JUDGED), ALL_JUDGED_WITHIN_S)
        assert _provider(boss) == provider
    assert [fault for hostile in JUDGED for fault in _faults(hostile, invalid, before[hostile.file])] == []
    left = {path.name for path in (node.share / "inbox" / USER).iterdir()}
    assert left == {hostile.file for hostile in DEFERRED}
    wait_until(lambda: _kept(node) == [len(good), len(good)], 10.0)
    assert [path for path in _changed(listed, _listing(tmp_path)) if not _is_own(path, node)] == []
    assert [path for path in COVETED if path.exists()] == []
    assert node.stop() == 0
    assert [line for line in node.log.splitlines() if "Traceback" in line or "defect" in line] == []


def _what(path: Path) -> list[str] | str:
    """What was handed in: the checksum of a file, the names in a folder."""
    if path.is_dir():
        return sorted(str(inner.relative_to(path)) for inner in path.rglob("*"))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _names_in(path: Path) -> list[str]:
    with tarfile.open(path) as tar:
        return sorted(tar.getnames())


def _shelved(hostile: Hostile) -> str:
    """The name under which a refused bundle comes back: a folder may hold links and pipes, so it comes as a tar."""
    return hostile.file + ".tar" if hostile.is_folder else hostile.file


GIVEN_BACK = {_shelved(hostile) + ending for hostile in JUDGED for ending in ("", ".reason.txt", ".reason.json")}


def _faults(hostile: Hostile, invalid: Path, before: list[str] | str) -> list[str]:
    """What is wrong with how a refused bundle was given back."""
    reason = invalid / f"{_shelved(hostile)}.reason.txt"
    if not reason.exists():
        return [f"{hostile}: no reason"]
    said, facts = reason.read_text(), json.loads(reason.with_suffix(".json").read_text())
    faults = [] if facts["reason"]["code"] == "bundle_rejected" and facts["problems"] else [f"{hostile}: {facts}"]
    faults += [f"{hostile}: {word!r} is not in {said!r}" for word in hostile.words if word not in said]
    shelved = invalid / _shelved(hostile)
    if (_names_in(shelved) if hostile.is_folder else _what(shelved)) != before:
        faults.append(f"{hostile}: what lies in invalid/ is not what was handed in")
    return faults


def _queued(client: DopqClient) -> int:
    return sum(job["state"] == "queued" for job in client.jobs())


def _provider(client: DopqClient) -> int:
    return next(
        (
            int(process["pid"])
            for process in client.system()["processes"]
            if process["name"] == "provider" and process["pid"]
        ),
        0,
    )


def _listing(tmp_path: Path) -> Snapshot:
    """The node's folder and what lies about it, without the bundles that wait to be dropped."""
    return {path: facts for path, facts in snapshot(tmp_path).items() if "staged" not in path.parts}


def _changed(before: Snapshot, after: Snapshot) -> list[Path]:
    return sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))


def _kept(node: NodeProcess) -> list[int]:
    """How many jobs the node keeps working files of, and how many bundles."""
    return [len(list((node.state / folder).iterdir())) for folder in ("jobs", "spool")]


def _is_own(path: Path, node: NodeProcess) -> bool:
    """Whether the node may write there: its own files, a job's own folder, and the shelf of what was refused."""
    if path.parent == node.share / "invalid" / USER:
        return path.name in GIVEN_BACK
    if path.parent == node.share / "inbox" / USER:
        return path.name in {hostile.file for hostile in DEFERRED}
    return OWN.fullmatch(str(path.relative_to(node.folder))) is not None if node.folder in path.parents else False
