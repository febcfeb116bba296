"""Which images a Dockerfile may build on or take files from. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from dopq.container_handler.image_name import may_be_an_id, parse_image_name
from dopq.container_handler.refusal import shown

Finding = tuple[str, str]
"""What is wrong with an instruction, and what to write instead."""

NOTHING = "scratch"
_OWN_IMAGES = "dopq/"


def base_finding(reference: str, asker: str, allowed: Sequence[str]) -> Finding | None:
    """Why an image may not be used, None when it may.

    Args:
        asker: what wants it, for example `FROM`.
        allowed: patterns, see `ImageName.matches`.
    """
    if reference == NOTHING:
        return None
    said = f"{asker} {shown(reference)}"
    name = parse_image_name(reference)
    if may_be_an_id(reference):
        return f"{said} may mean an image by its id, whoever's that is", "Write a full name, such as NAME:TAG."
    if name is None:
        return f"{said} is no name of an image", "Write one such as python:3.11, in small letters."
    if name.path.startswith(_OWN_IMAGES):
        return f"{said} is the image of a job, which belongs to its user", "Build on a public image."
    if not name.matches(allowed):
        return f"{said} is not among the images that this node allows", f"Allowed are: {', '.join(allowed) or 'none'}."
    return None
