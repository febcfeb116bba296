"""Whose a drop is: by the owner of the inbox that it lies in, and by the owners of all that it holds. Pure.

docs/adr/0053-whose-a-drop-is.md has the reasons.
"""

from __future__ import annotations

from dataclasses import dataclass

ROOT = 0


@dataclass(frozen=True, slots=True)
class Owner:
    """Who owns a file or folder of a drop, and whether everybody may read it anyway."""

    uid: int
    public: bool


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a drop came from, told by the open files from which it was copied.

    Attributes:
        inbox: to which uid the inbox belongs.
        owners: of everything in the drop.
        flattened: why the share cannot tell owners apart; empty where it can.
    """

    inbox: int
    owners: frozenset[Owner]
    flattened: str = ""


@dataclass(frozen=True, slots=True)
class Objection:
    """Why a drop is not taken for its user's.

    Attributes:
        what: what is wrong, as the end of a sentence that begins with "it".
        instead: what to do.
        goes_back: the drop is at fault, and is refused; else an admin has to mend something, and it waits.
    """

    what: str
    instead: str
    goes_back: bool


def objection(origin: Origin, uid: int | None, service: int, *, alone: bool) -> Objection | None:
    """Why a drop is not its user's; None when nothing speaks against it.

    Args:
        uid: of the user, as registered. None: whom the inbox belongs to, unless that is the service or root, whose
            inbox says nothing of its user.
        service: the uid of the service; its files and root's are taken for everybody, where everybody may read them.
        alone: there is one user only, so that nobody can be taken for another.
    """
    if origin.flattened:
        return None if alone else _cannot_be_told(origin.flattened)
    trusted = {ROOT, service}
    if uid is not None and origin.inbox not in {uid, *trusted}:
        return Objection(
            f"lies in an inbox that belongs to uid {origin.inbox}, not to its user's uid {uid}",
            f"The admin gives the inbox back: chown {uid}, or changes the uid of the user.",
            goes_back=False,
        )
    mine = uid if uid is not None else origin.inbox
    if mine in trusted:
        return None
    strangers = sorted({owner.uid for owner in origin.owners} - {mine, *trusted})
    if strangers:
        listed = ", ".join(str(stranger) for stranger in strangers[:5])
        return Objection(
            f"belongs to uid {listed}, in part at least, and not to its user's uid {mine}",
            "Hand in files of your own: a copy is yours, a link or a moved file is still another's.",
            goes_back=True,
        )
    if any(owner.uid != mine and not owner.public for owner in origin.owners):
        return Objection(
            "holds files of the machine's own which not everybody may read",
            "An admin who hands in for a user makes them readable for all, or chowns them to that user.",
            goes_back=True,
        )
    return None


def _cannot_be_told(why: str) -> Objection:
    return Objection(
        f"cannot be told whose it is: {why}",
        'The admin has the share keep owners, or sets share.identity = "folder".',
        goes_back=False,
    )
