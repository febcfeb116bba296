"""Which known escapes (escapes.toml) a component of some version is open to. Pure but for reading the table."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Any

from dopq.doctor.finding import Finding, error, ok, warning
from dopq.doctor.version import Version, has_fix, read

_TITLES = {"engine": "Docker", "runc": "runc", "toolkit": "The NVIDIA Container Toolkit"}


@dataclass(frozen=True, slots=True)
class Escape:
    """A known way out, and where it is closed."""

    cve: str
    component: str
    fixed: tuple[Version, ...]
    what: str
    since: Version | None = None
    needs: str | None = None

    def is_open(self, version: Version) -> bool:
        """Whether a plain build of that version has it."""
        return (self.since is None or version >= self.since) and not has_fix(version, self.fixed)


def known() -> list[Escape]:
    """The table."""
    text = resources.files("dopq.doctor").joinpath("escapes.toml").read_text(encoding="utf-8")
    return [_escape(row) for row in tomllib.loads(text)["escape"]]


def judge(component: str, version: str, in_use: Collection[str] = ()) -> Iterator[Finding]:
    """One finding on a component: what it is open to, or that it is not.

    Args:
        in_use: what of the `needs` of the table this machine uses.
    """
    title, understood = _TITLES[component], read(version)
    if understood is None:
        fix = "Compare it with its security advisories yourself."
        yield warning(component, f"{title}'s version {version!r} cannot be read.", fix)
        return
    number, from_distribution = understood
    concerned = [it for it in known() if it.component == component and (it.needs is None or it.needs in in_use)]
    found = [escape for escape in concerned if escape.is_open(number)]
    if not found:
        yield ok(component, f"{title} {version}: open to none of {len(concerned)} known escapes.")
        return
    listed = ", ".join(escape.cve for escape in found)
    if from_distribution:
        yield warning(
            component,
            f"{title} {version} is a distribution's build, which may have the fixes of {listed} or not.",
            f"Bring it up to date, and ask your distribution for each: {_tracker(found[0])}",
        )
        return
    reasons = "; ".join(f"{escape.cve}: {escape.what}" for escape in found)
    yield error(component, f"{title} {version} is open to {reasons}.", f"Update it to {_cure(number, found)} or later.")


def _cure(version: Version, found: Collection[Escape]) -> str:
    """The lowest version that closes all: of the same branch, if that got all fixes."""
    candidates = sorted({release for escape in found for release in escape.fixed if release > version})
    cures = [release for release in candidates if not any(escape.is_open(release) for escape in found)]
    return _text(cures[0])


def _tracker(escape: Escape) -> str:
    return f"https://security-tracker.debian.org/tracker/{escape.cve} or https://ubuntu.com/security/{escape.cve}"


def _text(version: Version) -> str:
    stage = ("-alpha.", "-beta.", "-rc.", "")[version.stage]
    return ".".join(str(number) for number in version.numbers) + (f"{stage}{version.candidate}" if stage else "")


def _escape(row: dict[str, Any]) -> Escape:
    since = row.get("since")
    return Escape(
        row["cve"],
        row["component"],
        tuple(_version(text) for text in row["fixed"]),
        row["what"],
        _version(since) if since else None,
        row.get("needs"),
    )


def _version(text: str) -> Version:
    understood = read(text)
    assert understood, text
    return understood[0]
