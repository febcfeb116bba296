"""The share: is it there, does it know owners, and whose are the inboxes?"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from dopq.config import Paths, ShareSettings
from dopq.database import Database
from dopq.doctor.finding import Finding, error, ok, warning
from dopq.doctor.folders import look_at_folder
from dopq.identity import ROOT
from dopq.share import Share
from dopq.share_owners import flattening
from dopq.users import User, Users

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def look_at_share(paths: Paths, settings: ShareSettings) -> Iterator[Finding]:
    """Is it there, and who can hand in as whom?"""
    if paths.share_mark.exists() and (trouble := Share(paths).trouble()):
        yield warning("share", trouble, "Until then a node waits for it, and takes no bundles from it.")
        return
    yield look_at_folder("share", paths.share)
    if paths.inbox.is_dir():
        users = _users(paths)
        yield _owners(paths.inbox, settings, len(users))
        yield from judge_inboxes(paths.inbox, users)


def judge_inboxes(inbox: Path, users: list[User]) -> Iterator[Finding]:
    """Whether each user's inbox is theirs, and nobody else's."""
    trusted = {ROOT, os.geteuid()}
    troubles = list(_of_shelf(inbox, trusted))
    for user in users:
        troubles += _of_inbox(inbox / user.name, user, trusted)
    yield from troubles
    without = [user.name for user in users if user.uid is None]
    if without:
        found = f"{_listed(without)} registered without a uid: whoever can write to their inbox hands in as them."
        yield warning("inboxes", found, "Give each the uid of their account (dopq user add --uid).")
    elif users and not troubles:
        yield ok("inboxes", f"Each of {len(users)} belongs to its user, and nobody else can write to it.")


def _of_shelf(inbox: Path, trusted: set[int]) -> Iterator[Finding]:
    info = inbox.stat()
    if info.st_uid not in trusted or info.st_mode & _OTHERS_WRITE:
        fix = f"chown {os.geteuid()} {inbox} && chmod 755 {inbox}"
        yield error("inboxes", f"Others can write to {inbox}, and put a folder in place of somebody's inbox.", fix)


def _of_inbox(folder: Path, user: User, trusted: set[int]) -> Iterator[Finding]:
    try:
        info = folder.lstat()
    except FileNotFoundError:
        yield warning("inboxes", f"{user.name} has no inbox.", f"mkdir {folder}, and chown it to their account.")
        return
    if not stat.S_ISDIR(info.st_mode):
        yield error("inboxes", f"{folder} is no folder.", "Find out who put it there, and replace it by a folder.")
    elif user.uid is not None and info.st_uid not in {user.uid, *trusted}:
        found = f"The inbox of {user.name} belongs to uid {info.st_uid}, not to their uid {user.uid}."
        yield error("inboxes", found, f"chown {user.uid} {folder}")
    elif info.st_mode & _OTHERS_WRITE:
        found = f"Others than {user.name} can write to {folder} (mode {stat.S_IMODE(info.st_mode):o})."
        yield error("inboxes", found, f"chmod go-w {folder}")


def _owners(inbox: Path, settings: ShareSettings, users: int) -> Finding:
    try:
        flattened = flattening(inbox)
    except OSError as trouble:
        return warning("owners", f"{inbox} takes no file to try it out: {trouble.strerror}.", "Look at its disk.")
    if not flattened and settings.identity == "owner":
        return ok("owners", "The share keeps the owners of files; they have to agree with the inbox.")
    if not flattened:
        found = 'The share keeps owners, but share.identity is "folder": they are not looked at.'
        return warning("owners", found, 'Set share.identity = "owner".')
    found = f"The share does not keep the owners of files: {flattened}."
    if settings.identity == "owner" and users > 1:
        return error("owners", found, 'Have it keep them, or set share.identity = "folder"; a node does not start so.')
    return warning("owners", found, "Whoever can write to an inbox hands in as its user: your file server has to care.")


def _users(paths: Paths) -> list[User]:
    if not paths.journal.exists():
        return []
    with closing(Database(paths.journal)) as database:
        return Users(database).all()


def _listed(names: Sequence[str]) -> str:
    verb = "is" if len(names) == 1 else "are"
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{', '.join(names[:5])}{more} {verb}"
