"""That our parser reads a Dockerfile as a real engine's two builders do: the same instructions, or none at all.

What a builder has read is seen in the history of its image. Old engines know no heredocs, newer ones do; what we take
for instructions is told for both.
"""

from __future__ import annotations

import io
import re
import tarfile
import threading
from collections.abc import Iterator

import docker
import pytest

from dopq.container_handler import docker_engine as docker_engine_module
from dopq.container_handler.docker_engine import DockerEngine
from dopq.container_handler.dockerfile import INSTRUCTIONS, read_dockerfile
from dopq.container_handler.dockerfile_gate import DockerfileRules, dockerfile_problems
from dopq.errors import BuildFailed
from tests.integration.test_engine_contract import LONG_S, Bench

pytestmark = pytest.mark.engine

_CLASSIC = re.compile(r"/bin/sh -c #\(nop\)\s+")
_BUILDKIT_RUN = re.compile(r"RUN /bin/sh -c (.*) # buildkit", re.DOTALL)


@pytest.fixture(params=["buildkit", "classic"])
def builder(
    request: pytest.FixtureRequest,
    docker_engine: DockerEngine,
    busybox_image: str,
    unique: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Bench]:
    if request.param == "classic":
        monkeypatch.setattr(docker_engine_module, "_has_buildkit", lambda _: False)
    bench = Bench(docker_engine, busybox_image, f"{unique}-{request.param}-")
    docker_engine.tag(bench.image, f"{bench.prefix}base:latest")
    bench.tags.append(f"{bench.prefix}base:latest")
    yield bench
    bench.tidy()


@pytest.fixture
def client(engine_url: str) -> Iterator[docker.APIClient]:
    client = docker.APIClient(base_url=engine_url)
    yield client
    client.close()


def named(bench: Bench, text: str) -> bytes:
    """The Dockerfile with a base image of this test's own, of which it may name the first half alone."""
    return re.sub(r"\bba(?=se\b|`|\n)", f"{bench.prefix}ba", text).encode()


def build(bench: Bench, content: bytes) -> str:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, text in {"Dockerfile": content, "a": b"a", "b c": b"b"}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text))
    stream.seek(0)
    tag = bench.tag()
    bench.engine.build(stream, tag=tag, labels={}, log=lambda _: None, cancelled=threading.Event(), timeout_s=LONG_S)
    return tag


def executed(client: docker.APIClient, tag: str, base: str) -> list[str]:
    """The ENV and RUN instructions of an image, in order, those of its base left out."""
    steps = [entry["CreatedBy"] for entry in reversed(client.history(tag))][len(client.history(base)) :]
    return [step for raw in steps if (step := plain(raw)).startswith(("ENV ", "RUN "))]


def plain(created_by: str) -> str:
    if found := _BUILDKIT_RUN.fullmatch(created_by):
        return f"RUN {found[1]}"
    if _CLASSIC.match(created_by):
        return _CLASSIC.sub("", created_by).strip()
    return created_by.replace("/bin/sh -c ", "RUN ", 1)


def read(content: bytes, *, heredocs: bool) -> list[str] | None:
    """The same instructions as we read them; None where no builder may read any."""
    dockerfile = read_dockerfile(content, heredocs=heredocs)
    if dockerfile.problems or any(it.word not in INSTRUCTIONS for it in dockerfile.instructions):
        return None
    return [f"{it.word} {it.arguments}" for it in dockerfile.instructions if it.word in {"ENV", "RUN"}]


READABLE = {
    "plain": "FROM base\nENV A=1\nRUN true\nENV B=2",
    "case": "fRoM base\nenv A=1\nEnV B=2",
    "indented": " \t FROM base\n\t ENV A=1",
    "continued": "FROM base\nENV A=1\\\n2\nENV B=1",
    "continued with blanks after the mark": "FROM base\nENV A=1\\ \t \n2\nENV B=1",
    "word cut in two": "FR\\\nOM base\nE\\\nN\\\nV A=1",
    "mark alone": "\\\nFROM base\n\\\n\\\nENV A=1",
    "mark at the end": "FROM base\nENV A=1 \\",
    "mark at the end with a line end": "FROM base\nENV A=1 \\\n",
    "two marks": "FROM base\nRUN echo 1\\\\\nENV B=1",
    "three marks": "FROM base\nRUN echo 1\\\\\\\nENV B=1",
    "comment within": "FROM base\nENV A=1\\\n# no \\\n  # ENV X=1\n2\nENV B=1",
    "blank line within": "FROM base\nENV A=1\\\n\n   \n2\nENV B=1",
    "comment with a mark": "FROM base\n# comment \\\nENV A=1",
    "comment after the text is none": "FROM base\nRUN true # \\\n && true\nENV A=1",
    "escape directive": "# escape=`\nFROM base\nENV A=1`\n2\nENV B=1",
    "escape directive in capitals": "#ESCAPE = `\nFROM ba`\nse\nENV B=1",
    "escape directive leaves the backslash": "# escape=`\nFROM base\nRUN true \\\nENV B=1",
    "escape directive says the backslash": "# escape=\\\nFROM base\nENV A=1\\\n2",
    "directive after an empty line is none": "FROM base\n# escape=`\nENV A=1\\\n2",
    "CRLF": "FROM base\r\nENV A=1\\\r\n2\r\nENV B=1\r\n",
    "byte order mark": "\ufeffFROM base\nENV A=1",
    "byte order mark and directive": "\ufeff# escape=`\nFROM base\nENV A=1`\n2",
    "tabs between": "FROM\tbase\nENV\tA=1",
    "stages": "FROM base AS x\nENV A=0\nFROM x\nENV B=1",
    "expansion": "ARG B=ba\nARG N=${B}se\nFROM ${N}\nENV A=1",
    "expansion with a default": "ARG N\nFROM ${N:-base}\nENV A=1",
    "expansion with another": "ARG N=x\nFROM ${N:+base}\nENV A=1",
    "expansion within a default": "ARG N=ba\nFROM ${M:-${N}se}\nENV A=1",
    "quoted expansion": 'ARG N="base"\nFROM "${N}"\nENV A=1',
    "single quotes": "ARG N='base'\nFROM $N\nENV A=1",
    "copy": 'FROM base\nCOPY a /a\nCOPY ["b c", "/b c"]\nENV A=1',
    "copy from a stage": "FROM base AS x\nCOPY a /z\nFROM base\nCOPY --from=X /z /y\nCOPY --from=0 /z /w\nENV A=1",
    "quoted flag": "FROM base AS x\nCOPY a /z\nFROM base\nCOPY --fr'om=x' /z /y\nENV A=1",
    "shift left in quotes": "FROM base\nRUN echo '1 <<EOF'\nENV A=1",
    "shift left in a word": "FROM base\nRUN test $((1<<3)) = 8\nENV A=1",
}  # fmt: skip
UNREADABLE = {
    "unknown instruction": "FROM base\nENVY A=1",
    "unknown by a cut": "FROM base\nEN \\\nV A=1",
    "nothing": "# only a comment\n",
    "mark and nothing": "FROM base\n\\\n",
    "no FROM": "ENV A=1",
    "two bases": "FROM base base",
    "stage that begins with a digit": "FROM base AS 1x",
    "unset": "FROM $NOTHING",
    "ARG of a stage": "FROM base\nARG N=base\nFROM $N",
    "own stage": "FROM base AS x\nCOPY --from=x /a /b",
    "unknown flag": "FROM base\nCOPY --frm=x a /b",
    "long line": "FROM base\nENV A=" + "x" * 65_536,
    "secret": "FROM base\nRUN --mount=type=nothing true",
    "network": "FROM base\nRUN --network=own true",
}


@pytest.mark.parametrize("name", READABLE)
def test_what_we_read_is_what_the_builder_runs(builder: Bench, client: docker.APIClient, name: str) -> None:
    content = named(builder, READABLE[name])
    expected = read(content, heredocs=True)
    assert expected is not None
    assert expected == read(content, heredocs=False)
    assert dockerfile_problems(content, DockerfileRules()) == []
    assert executed(client, build(builder, content), builder.base) == expected


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_no_builder_takes_is_refused_with_its_line(builder: Bench, name: str) -> None:
    content = named(builder, UNREADABLE[name])
    assert dockerfile_problems(content, DockerfileRules())
    with pytest.raises(BuildFailed):
        build(builder, content)


HEREDOCS = {
    "run": "FROM base\nRUN <<EOF\nexport A=1\nEOF\nENV A=1",
    "quoted": "FROM base\nRUN <<'EOF' cat\nFROM x\nEOF\nENV A=1",
    "tabs": "FROM base\nRUN <<-EOF cat\n\tx\n\tEOF\nENV A=1",
    "two": "FROM base\nCOPY <<a <<b /x/\n1\na\n2\nb\nENV A=1",
}


@pytest.mark.parametrize("name", HEREDOCS)
def test_a_heredoc_is_read_alike_or_stops_a_builder_that_knows_none(
    builder: Bench, client: docker.APIClient, name: str
) -> None:
    content = named(builder, HEREDOCS[name])
    assert dockerfile_problems(content, DockerfileRules()) == []
    assert read(content, heredocs=False) is None
    try:
        built = executed(client, build(builder, content), builder.base)
    except BuildFailed as failed:
        assert "unknown instruction" in failed.message.lower()  # noqa: PT017 - before Docker 23.0
    else:
        assert [step for step in built if step.startswith("ENV")] == ["ENV A=1"]


def test_an_older_builder_would_have_run_what_a_refused_heredoc_hides(builder: Bench, client: docker.APIClient) -> None:
    """The reason for the refusal: where heredocs are not known, every line of this one is an instruction."""
    content = named(builder, "FROM base\nCOPY <<EOF /a /b\nENV HIDDEN=1\nRUN true \\\nEOF\n")
    assert [problem.where for problem in dockerfile_problems(content, DockerfileRules())] == ["Dockerfile:2"]
    assert read(content, heredocs=False) == ["ENV HIDDEN=1", "RUN true EOF"]
    if int(client.version()["Version"].split(".")[0]) < 23:
        run = content.replace(b"COPY <<EOF /a /b", b"LABEL a='<<EOF'")
        assert executed(client, build(builder, run), builder.base) == ["ENV HIDDEN=1", "RUN true EOF"]
