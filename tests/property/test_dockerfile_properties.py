"""However a forbidden instruction is written it is found on its line, and what only looks like one is left alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dopq.container_handler.dockerfile import read_dockerfile
from dopq.container_handler.dockerfile_gate import DockerfileRules, dockerfile_problems

RULES = DockerfileRules()
FORBIDDEN = (
    "FROM dopq/alice/1",
    "FROM index.docker.io/dopq/alice/1:latest",
    "FROM 3f2a9c",
    "FROM sha256:3f2a9c",
    "FROM $NOWHERE",
    "COPY --from=dopq/alice/1 /a /b",
    "COPY --chown=1:1 --from='beef' /a /b",
    "ADD https://example.org/a /b",
    'ADD ["git@example.org:a.git", "/b"]',
    "RUN --network=host true",
    "RUN --mount=type=tmpfs,target=/x --security=insecure true",
    "RUN --mount=type=bind,from=dopq/alice/1,target=/x true",
    "RUN --mount=type=secret,id=x true",
    "ONBUILD COPY --from=dopq/alice/1 /a /b",
)
escapes = st.sampled_from("\\`")
blanks = st.text(" \t", max_size=3)
comments = st.sampled_from(FORBIDDEN).map(lambda text: f"# {text}\n")
fillers = st.lists(st.one_of(comments, blanks.map(lambda text: text + "\n")), max_size=2).map("".join)


@st.composite
def disguised(draw: st.DrawFn, instruction: str, escape: str) -> str:
    """The same instruction in another case, indented, and spread over lines with comments and blank ones between."""
    word, rest = instruction.split(" ", 1)
    spelt = "".join(draw(st.sampled_from((letter.upper(), letter.lower()))) for letter in word)
    text = draw(blanks) + spelt + draw(st.sampled_from((" ", "\t", "  "))) + rest
    for place in sorted(draw(st.sets(st.integers(1, len(text) - 1), max_size=4)), reverse=True):
        if not text[:place].endswith(escape):
            text = text[:place] + escape + draw(blanks) + "\n" + draw(fillers) + text[place:]
    return text + "\n"


@st.composite
def harmless(draw: st.DrawFn, escape: str) -> str:
    """An instruction that a builder would run without asking for anything, however much of it looks otherwise."""
    bait, name = draw(st.sampled_from(FORBIDDEN)), draw(st.sampled_from(("EOF", "END_1", "x")))
    tabs, quote = draw(st.sampled_from(("", "-"))), draw(st.sampled_from(("", "'", '"')))
    return draw(
        st.sampled_from(
            (
                f"# {bait} {escape}\n",
                f"RUN echo {escape}\n# {bait}\n\n {bait}\n",
                f"RUN sh <<{tabs}{quote}{name}{quote} >/dev/null\n{bait}\n{bait} # {escape}\n\n x\n{name}\n",
                f"COPY <<{tabs}{quote}{name}{quote} <<b /dir/\n{bait}\n{chr(9) if tabs else ''}{name}\n{bait}\nb\n",
                f"LABEL bait='{bait}'\n" if "'" not in bait else "",
                "WORKDIR /x\n",
                "ARG V\nENV W=$V\n",
                'CMD ["sh", "-c", "cat <<EOF"]\n',
                f"RUN ls C:{escape}{escape}\n",
            )
        )
    )


@st.composite
def dockerfiles(draw: st.DrawFn, forbidden: str | None) -> tuple[bytes, int]:
    """A Dockerfile, and the line on which the forbidden instruction begins; 0 without one."""
    escape = draw(escapes)
    head = f"# escape={escape}\n" if escape == "`" else draw(st.sampled_from(("", "# a comment\n")))
    before = "".join(draw(st.lists(harmless(escape), max_size=3)))
    after = "".join(draw(st.lists(harmless(escape), max_size=2)))
    hidden = draw(disguised(forbidden, escape)) if forbidden else ""
    text = f"{head}ARG TAG=3.11\nFROM python:${{TAG}} AS base\n{before}"
    line = text.count("\n") + 1 if forbidden else 0
    text = f"{text}{hidden}{after}FROM base\n"
    if draw(st.booleans()):
        text = text.replace("\n", "\r\n")
    return draw(st.sampled_from((b"", b"\xef\xbb\xbf"))) + text.encode(), line


@given(st.sampled_from(FORBIDDEN).flatmap(dockerfiles))
def test_a_forbidden_instruction_is_found_on_its_line_however_it_is_written(made: tuple[bytes, int]) -> None:
    content, line = made
    assert f"Dockerfile:{line}" in {problem.where for problem in dockerfile_problems(content, RULES)}


@given(dockerfiles(None))
def test_what_only_looks_forbidden_is_not_refused(made: tuple[bytes, int]) -> None:
    assert dockerfile_problems(made[0], RULES) == []


@given(st.binary(max_size=300) | st.lists(st.sampled_from([*FORBIDDEN, "\\", "`", "<<A", "A", "'", '"', "#", "\n", " ", "$", "${", "[", "--", "ARG X=", "\r"]), max_size=30).map(lambda parts: "".join(parts).encode()))  # fmt: skip
def test_whatever_the_bytes_the_gate_answers(content: bytes) -> None:
    problems = dockerfile_problems(content, RULES)
    assert all(problem.where.startswith("Dockerfile") and problem.what and problem.instead for problem in problems)
    assert problems or read_dockerfile(content).instructions
