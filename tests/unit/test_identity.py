"""Whose a drop is: the rule alone, and what tells a share that shows every file as one account's."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dopq.admission import require_owners
from dopq.config import NodeSettings, Paths
from dopq.errors import OperatorError
from dopq.identity import Origin, Owner, objection
from dopq.share_owners import ANOTHER, flattening, judge
from dopq.utils.mounts import Mount, choose, mount_of, parse
from tests.platforms import Home

ANA, BERT, SERVICE = 1001, 1002, 900
uids = st.sampled_from([0, SERVICE, ANA, BERT])
owners = st.frozensets(st.builds(Owner, uids, st.booleans()), min_size=1, max_size=4)
inboxes = st.sampled_from([0, SERVICE, ANA, BERT])


def says(origin: Origin, uid: int | None = ANA, *, alone: bool = False) -> str:
    found = objection(origin, uid, SERVICE, alone=alone)
    return found.what if found else ""


def of(*these: Owner, inbox: int = ANA) -> Origin:
    return Origin(inbox, frozenset(these))


def test_ones_own_files_are_ones_own_whoever_may_read_them() -> None:
    assert says(of(Owner(ANA, False), Owner(ANA, True))) == ""


def test_one_file_of_another_is_enough_to_refuse() -> None:
    assert "uid 1002" in says(of(Owner(ANA, True), Owner(BERT, True)))


@pytest.mark.parametrize("who", [0, SERVICE])
def test_what_an_admin_drops_for_a_user_is_taken_where_all_may_read_it(who: int) -> None:
    assert says(of(Owner(who, True))) == ""
    assert "not everybody may read" in says(of(Owner(who, False)))


def test_without_a_uid_the_owner_of_the_inbox_says_who_its_user_is() -> None:
    assert says(of(Owner(ANA, False)), uid=None) == ""
    assert "uid 1002" in says(of(Owner(BERT, True)), uid=None)


def test_an_inbox_of_the_service_alone_says_nothing_of_its_user() -> None:
    assert says(of(Owner(BERT, False), inbox=0), uid=None) == ""
    assert "uid 1002" in says(of(Owner(BERT, False), inbox=0), uid=ANA)


def test_an_inbox_of_somebody_else_waits_for_the_admin() -> None:
    found = objection(of(Owner(ANA, True), inbox=BERT), ANA, SERVICE, alone=False)
    assert found
    assert (found.goes_back, "inbox that belongs to uid 1002" in found.what) == (False, True)


def test_where_owners_are_not_real_one_user_alone_is_served() -> None:
    flat = Origin(0, frozenset({Owner(0, True)}), "vboxsf shows all files as uid 0's")
    assert says(flat, alone=True) == ""
    assert "vboxsf" in says(flat)


@given(owners, inboxes, st.sampled_from([None, ANA]))
def test_nothing_that_belongs_to_another_is_ever_taken(held: frozenset[Owner], inbox: int, uid: int | None) -> None:
    origin = Origin(inbox, held)
    mine = uid if uid is not None else inbox
    if objection(origin, uid, SERVICE, alone=False) is None and mine in {ANA, BERT}:
        assert {owner.uid for owner in held} <= {mine, 0, SERVICE}
        assert all(owner.public for owner in held if owner.uid != mine)


@given(st.frozensets(st.builds(Owner, st.just(ANA), st.booleans()), min_size=1), st.sampled_from([0, SERVICE, ANA]))
def test_what_is_wholly_ones_own_is_always_taken(held: frozenset[Owner], inbox: int) -> None:
    assert objection(Origin(inbox, held), ANA, SERVICE, alone=False) is None


# --- shares that flatten owners ---

EXT4 = Mount(Path("/srv"), "ext4", frozenset({"rw"}))
NFS = Mount(Path("/srv"), "nfs4", frozenset({"rw", "vers=4.2"}))
CIFS = Mount(Path("/srv"), "cifs", frozenset({"rw", "noforceuid"}))


@pytest.mark.parametrize(
    ("mount", "given_to", "seen", "keeps"),
    [
        (EXT4, ANOTHER, {0}, True),
        (EXT4, None, {1000}, True),  # the service is no root; a disk of the machine's own keeps owners
        (NFS, ANOTHER, {0}, True),
        (NFS, None, {65534}, False),  # all_squash, or root_squash with nothing in it that would tell
        (NFS, None, {65534, ANA}, True),  # root_squash: the inboxes belong to their users
        (CIFS, 0, {0}, False),
        (CIFS, ANOTHER, {0}, True),
        (Mount(Path("/srv"), "cifs", frozenset({"dynperm"})), ANOTHER, {0}, False),
        (Mount(Path("/srv"), "smb3", frozenset({"forceuid"})), ANOTHER, {0}, False),
        (Mount(Path("/srv"), "vfat", frozenset()), None, {0}, False),
        (Mount(Path("/srv"), "vboxsf", frozenset()), 0, {0}, False),
    ],
)
def test_a_share_keeps_owners_or_says_why_not(mount: Mount, given_to: int | None, seen: set[int], keeps: bool) -> None:
    assert (judge(mount, given_to, seen) == "") is keeps


def test_this_machines_own_disk_keeps_owners_and_nothing_is_left_of_the_trial(tmp_path: Path) -> None:
    assert flattening(tmp_path) == ""
    assert list(tmp_path.iterdir()) == []


def flat(_: Path) -> str:
    return "vboxsf at /srv shows all files as uid 0's"


def test_several_users_of_a_share_that_flattens_owners_are_refused_at_the_start(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with pytest.raises(OperatorError, match="vboxsf at /srv") as refused:
        require_owners(home.paths, "owner", flat)
    assert 'share.identity = "folder"' in refused.value.hint
    require_owners(home.paths, "folder", flat)
    for user in home.users.all()[1:]:
        home.users.remove(user.name)
    require_owners(home.paths, "owner", flat)
    home.close()


def test_a_share_that_cannot_be_tried_out_holds_up_no_start(tmp_path: Path) -> None:
    home = Home(tmp_path)

    def gone(_: Path) -> str:
        raise FileNotFoundError(2, "No such file or directory")

    require_owners(home.paths, "owner", gone)
    home.close()


# --- mounts ---

MOUNTINFO = r"""
22 1 254:0 / / rw,relatime - ext4 /dev/root rw,errors=remount-ro
30 22 0:50 / /srv/our\040lab rw,relatime shared:7 - cifs //server/lab rw,vers=3.1.1,noforceuid,uid=0
31 30 0:51 / /srv/our\040lab rw - nfs4 server:/lab rw,vers=4.2
32 22 0:52 / /srv/our\040lab/deep rw - fuse.sshfs me@host: rw
broken
"""


def test_the_deepest_mount_above_a_path_counts_and_of_two_at_one_point_the_last() -> None:
    mounts = parse(MOUNTINFO.split("\n"))
    assert choose(Path("/srv/our lab/inbox"), mounts) == Mount(
        Path("/srv/our lab"), "nfs4", frozenset({"rw", "vers=4.2"})
    )
    assert choose(Path("/srv/our lab/deep/x"), mounts).is_network
    assert choose(Path("/srv/our labs"), mounts).kind == "ext4"
    assert mounts[1].options >= {"relatime", "noforceuid", "uid=0"}


def test_a_path_that_is_not_there_yet_lies_where_it_will(tmp_path: Path) -> None:
    assert mount_of(tmp_path / "not" / "yet") == mount_of(tmp_path)


def test_paths_of_a_node_have_a_mount(tmp_path: Path) -> None:
    assert mount_of(Paths(tmp_path, NodeSettings()).journal).kind != "unknown"
