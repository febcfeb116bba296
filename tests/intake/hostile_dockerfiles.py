"""Dockerfiles that reach for other users' images, for the daemon's network, or for its rights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.bundles import Content, zip_of
from tests.intake.hostile import Hostile
from tests.intake.hostile_zips import file_name

OTHERS = "dopq/bob/1"
IMAGE_ID = "4e5021d210f65ebe915670c7089120120bc0a303b90208592851708c1b8c04bd"


def dockerfiles() -> Iterator[Hostile]:
    yield from _bases()
    yield from _fetching()
    yield from _rights()
    yield from _syntax()


def dockerfile(title: str, text: Content, *words: str) -> Hostile:
    """A bundle with this Dockerfile."""

    def write(path: Path) -> Path:
        return zip_of(path, {"Dockerfile": text, "a": "x"})

    return Hostile(f"Dockerfile: {title}", file_name(title) + "-dockerfile.zip", write, ("Dockerfile", *words))


def _bases() -> Iterator[Hostile]:
    for title, reference in (
        ("another's image", OTHERS),
        ("another's image with a tag", f"{OTHERS}:latest"),
        ("another's image by digest", f"{OTHERS}@sha256:{IMAGE_ID}"),
        ("another's image with the default registry", f"docker.io/{OTHERS}"),
        ("another's image with the index", f"index.docker.io/{OTHERS}"),
        ("an image id", f"sha256:{IMAGE_ID}"),
        ("an image id without its prefix", IMAGE_ID),
        ("a short image id", IMAGE_ID[:12]),
    ):
        yield dockerfile(f"FROM {title}", f"FROM {reference}\n", "Dockerfile:1")
        yield dockerfile(f"COPY --from={title}", f"FROM scratch\nCOPY --from={reference} / /\n", "Dockerfile:2")
        mount = f"FROM scratch\nRUN --mount=type=bind,from={reference},target=/x cp /x/secret /\n"
        yield dockerfile(f"RUN --mount from={title}", mount, "Dockerfile:2")
    yield dockerfile("base in small letters", f"from {OTHERS}\n", "Dockerfile:1")
    yield dockerfile("base in the next line", f"FROM \\\n  {OTHERS}\n", OTHERS)
    yield dockerfile("base behind a comment in a continuation", f"FROM \\\n# alpine\n  {OTHERS}\n", OTHERS)
    yield dockerfile("base behind a backtick", f"# escape=`\nFROM `\n  {OTHERS}\n", OTHERS)
    yield dockerfile("base cut in two", f"FROM {OTHERS[:4]}\\\n{OTHERS[4:]}\n", OTHERS)
    yield dockerfile("base of another platform", f"FROM --platform=linux/amd64 {OTHERS}\n", OTHERS)
    yield dockerfile("base from an ARG", f"ARG BASE={OTHERS}\nFROM ${{BASE}}\n", OTHERS)
    yield dockerfile("base from two ARGs", "ARG A=dopq\nARG B=$A/bob\nFROM $B/1\n", OTHERS)
    yield dockerfile("base from an ARG's alternative", f"ARG A=\nFROM ${{A:-{OTHERS}}}\n", OTHERS)
    yield dockerfile("base from an ARG's other alternative", f"ARG A=x\nFROM ${{A:+{OTHERS}}}\n", OTHERS)
    yield dockerfile("base from an ARG in quotes", f'ARG A="{OTHERS}"\nFROM $A\n', OTHERS)
    yield dockerfile("base in quotes", f'FROM "{OTHERS}"\n', "Dockerfile:1")
    yield dockerfile("base from an ARG nobody set", "FROM $NOTHING\n", "Dockerfile:1")
    yield dockerfile("base of the second stage", f"FROM scratch AS one\nFROM {OTHERS} AS two\n", "Dockerfile:2")
    yield dockerfile("COPY from an ARG", f"FROM scratch\nARG A={OTHERS}\nCOPY --from=$A / /\n", "Dockerfile")
    yield dockerfile("COPY from a stage that comes later", f"FROM scratch\nCOPY --from=later / /\nFROM {OTHERS} AS later\n", OTHERS)  # fmt: skip
    yield dockerfile("COPY from a stage by a number too high", "FROM scratch\nCOPY --from=7 / /\n", "Dockerfile:2")
    yield dockerfile("COPY from, cut in two", f"FROM scratch\nCOPY --from=\\\n{OTHERS} / /\n", "Dockerfile:2")
    yield dockerfile("RUN with a second mount", f"FROM scratch\nRUN --mount=type=tmpfs,target=/t --mount=from={OTHERS},target=/x ls\n", "Dockerfile:2")  # fmt: skip
    yield dockerfile("RUN with a mount in quotes", f'FROM scratch\nRUN --mount="type=bind,from={OTHERS},target=/x" ls\n', "Dockerfile:2")  # fmt: skip
    yield dockerfile("RUN with a mount from an ARG", f"FROM scratch\nARG A={OTHERS}\nRUN --mount=from=$A,target=/x ls\n", "Dockerfile:3")  # fmt: skip
    yield dockerfile("base with a bad name", "FROM ../../etc\n", "Dockerfile:1")
    yield dockerfile("base in capitals", "FROM Dopq/Bob/1\n", "Dockerfile:1")


def _fetching() -> Iterator[Hostile]:
    for source in ("http://lab/a", "https://lab/a", "HTTP://lab/a", "git://lab/a.git", "git@lab:a.git", "ssh://lab/a.git", "https://lab/a.git#main"):  # fmt: skip
        yield dockerfile(f"ADD {source}", f"FROM scratch\nADD {source} /x\n", "Dockerfile:2", "ADD")
    yield dockerfile("ADD as JSON", 'FROM scratch\nADD ["https://lab/a", "/x"]\n', "Dockerfile:2", "ADD")
    yield dockerfile("ADD of a second source", "FROM scratch\nADD a http://lab/b /x/\n", "Dockerfile:2", "ADD")
    yield dockerfile("ADD from an ARG", "FROM scratch\nARG U=http://lab/a\nADD $U /x\n", "Dockerfile:3", "ADD")
    yield dockerfile("ADD from an ENV", "FROM scratch\nENV U=http://lab/a\nADD ${U} /x\n", "Dockerfile:3", "ADD")
    yield dockerfile(
        "ADD pieced together", "FROM scratch\nARG A=ht\nARG B=tp://lab/a\nADD $A$B /x\n", "Dockerfile:4", "ADD"
    )
    yield dockerfile("ADD with a checksum", f"FROM scratch\nADD --checksum=sha256:{IMAGE_ID} https://lab/a /x\n", "ADD")
    yield dockerfile("ADD over two lines", "FROM scratch\nADD \\\n  http://lab/a \\\n  /x\n", "Dockerfile:2", "ADD")
    yield dockerfile("add in small letters", "FROM scratch\nadd http://lab/a /x\n", "Dockerfile:2")


def _rights() -> Iterator[Hostile]:
    yield dockerfile("syntax image", "# syntax=lab/evil:1\nFROM scratch\n", "Dockerfile:1", "syntax")
    yield dockerfile("syntax image, spaced", "#   SYNTAX =  lab/evil:1\nFROM scratch\n", "syntax")
    yield dockerfile("syntax image behind an escape", "# escape=`\n# syntax=lab/evil:1\nFROM scratch\n", "syntax")
    yield dockerfile("syntax image behind a mark", b"\xef\xbb\xbf# syntax=lab/evil:1\nFROM scratch\n", "syntax")
    yield dockerfile("syntax image behind a slash", "// syntax=lab/evil:1\nFROM scratch\n", "Dockerfile")
    yield dockerfile("syntax image behind a shebang", "#!/usr/bin/env x\n# syntax=lab/evil:1\nFROM scratch\n", "syntax")
    yield dockerfile("syntax image in JSON", '{"syntax": "lab/evil:1"}\n', "Dockerfile")
    yield dockerfile("official syntax image", "# syntax=docker/dockerfile:1\nFROM scratch\n", "syntax")
    yield dockerfile("host network", "FROM scratch\nRUN --network=host curl lab\n", "Dockerfile:2", "network")
    yield dockerfile(
        "host network in the next line", "FROM scratch\nRUN \\\n --network=host curl lab\n", "Dockerfile:2", "network"
    )
    yield dockerfile(
        "host network behind a mount", "FROM scratch\nRUN --mount=type=tmpfs,target=/t --network=host x\n", "network"
    )
    yield dockerfile("insecure", "FROM scratch\nRUN --security=insecure mount\n", "Dockerfile:2", "security")
    yield dockerfile("insecure in capitals", "FROM scratch\nRUN --SECURITY=insecure mount\n", "Dockerfile:2")
    yield dockerfile("ONBUILD RUN", "FROM scratch\nONBUILD RUN rm -rf /\n", "Dockerfile:2", "ONBUILD")
    yield dockerfile("onbuild in small letters", "FROM scratch\nonbuild copy --from=x / /\n", "Dockerfile:2")
    yield dockerfile("an unknown flag of RUN", "FROM scratch\nRUN --privileged ls\n", "Dockerfile:2")
    yield dockerfile("an unknown flag of COPY", "FROM scratch\nCOPY --network=host a b\n", "Dockerfile:2")
    all_at_once = f"# syntax=x\nFROM {OTHERS}\nADD http://lab/a /\nRUN --network=host x\nONBUILD RUN x\n"
    yield dockerfile(
        "five problems at once", all_at_once, "syntax", "Dockerfile:2", "Dockerfile:3", "Dockerfile:4", "Dockerfile:5"
    )


def _syntax() -> Iterator[Hostile]:
    yield dockerfile("nothing", "", "FROM")
    yield dockerfile("comments alone", "# FROM scratch\n\n", "FROM")
    yield dockerfile("RUN before FROM", "RUN ls\nFROM scratch\n", "Dockerfile:1")
    yield dockerfile("FROM nothing", "FROM\n", "Dockerfile:1")
    yield dockerfile("FROM with too many words", "FROM a b c\n", "Dockerfile:1")
    yield dockerfile("an unknown instruction", "FROM scratch\nRNU ls\n", "Dockerfile:2", "RNU")
    yield dockerfile("a text", "Dear queue, please run my job.\n", "Dockerfile:1")
    yield dockerfile("UTF-16", "FROM scratch\n".encode("utf-16"), "UTF-8")
    yield dockerfile("a NUL", b"FROM scratch\0\nCOPY . /\n", "Dockerfile")
    yield dockerfile("an open heredoc", "FROM scratch\nRUN <<EOF\nls\n", "Dockerfile:2")
    yield dockerfile(
        "a heredoc that hides what follows", "FROM scratch\nCOPY <<EOF /x\nFROM x\nEOT\nRUN ls\n", "Dockerfile:2"
    )
    quotes = "FROM scratch\nRUN <<EOF " + '"\\' * 20_000 + "\nEOF\n"
    yield dockerfile("a heredoc beside 20,000 quotes", quotes, "Dockerfile:2", "quote")
    flags = "FROM scratch\nRUN " + ("--a " * 15_000 + "\\\n") * 15 + "x\n"
    yield dockerfile("200,000 flags", flags, "Dockerfile:2", "more than 100 flags")
    yield dockerfile("an escape that is none", "# escape=x\nFROM scratch\n", "escape")
    yield dockerfile("two escapes", "# escape=`\n# escape=\\\nFROM scratch\n", "escape")
    yield dockerfile("a megabyte of comments", "#" * (2 * 2**20) + "\nFROM scratch\n", "bytes")
