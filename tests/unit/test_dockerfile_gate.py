"""The Dockerfile gate: what is refused, with which words, and what is left alone."""

from __future__ import annotations

import pytest

from dopq.container_handler.dockerfile_gate import DockerfileRules, base_images, dockerfile_problems
from dopq.container_handler.image_name import BaseImage, parse_image_name

RULES = DockerfileRules()


def told(text: str, rules: DockerfileRules = RULES) -> list[str]:
    return [str(problem) for problem in dockerfile_problems(text.encode(), rules)]


@pytest.mark.parametrize(
    "text",
    [
        "FROM python:3.11",
        "FROM scratch\nCOPY a /",
        "FROM --platform=$BUILDPLATFORM nvcr.io/nvidia/pytorch:24.01-py3 AS Build\nFROM build\nCOPY --from=BUILD /a /b",
        "ARG V=3.11\nARG IMAGE=python:${V}-slim\nFROM ${IMAGE}\nARG V\nRUN echo $V",
        "ARG BASE\nFROM ${BASE:-python}",
        "FROM python@sha256:" + "0" * 64,
        "FROM localhost:5000/team/cafe",
        "FROM cafe:1",
        "FROM x AS cafe\nFROM cafe",
        "FROM x\nFROM y\nCOPY --from=0 /x /y",
        "FROM x\nRUN --mount=type=cache,target=/root/.cache/pip --mount=source=x,target=/x pip install y",
        "FROM x AS b\nFROM y\nRUN --mount=type=bind,from=b,source=/x,target=/x true",
        "FROM x\nRUN --network=none --security=sandbox true",
        "FROM x\nADD data.tar.gz données.tar /data/",
        'FROM x\nADD ["a b.tar", "/x"]\nCOPY ["a b", "/x"]',
        "FROM x\nCOPY https://example.org/x /y",
        (
            "FROM x\nENV NVIDIA_VISIBLE_DEVICES=all\nLABEL dopq.job=1\nUSER root\nVOLUME /output\nSTOPSIGNAL SIGKILL\n"
            "HEALTHCHECK --interval=5s CMD true\nEXPOSE 80\nSHELL [\"/bin/bash\", \"-c\"]\nMAINTAINER x"
        ),
        "FROM x\nRUN <<EOF\nFROM dopq/alice/1\nADD http://x /y\nONBUILD RUN x\nEOF",
        "FROM x\nCOPY <<EOF /x\n# syntax=evil\nFROM sha256:123\nEOF",
        "FROM x\nADD <<-'EOF' /x\nADD http://x /y\n\tEOF",
        "FROM x\n# FROM dopq/alice/1 \\\nRUN x \\\n# ADD http://x /y\n y",
        "FROM x\nRUN echo ADD http://x /y && FROM=dopq/alice/1 true",
        "FROM x\nRUN [ -d /x ] || mkdir /x",
    ],
)  # fmt: skip
def test_ordinary_dockerfiles_pass(text: str) -> None:
    assert told(text) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        # images by id
        ("FROM 3f2a9c", "Dockerfile:1: FROM '3f2a9c' may mean an image by its id"),
        ("FROM cafe", "by its id"),
        ("FROM sha256:3f2a9c", "by its id"),
        ("FROM " + "0" * 64, "by its id"),
        ("ARG X=fe\nFROM ${X}ed", "by its id"),
        ("FROM busybox\nCOPY --from=beef /a /b", "by its id"),
        ("FROM busybox\nRUN --mount=from=beef,target=/x true", "by its id"),
        ("FROM busybox\nRUN --mount=from=0,target=/x true", "by its id"),
        # other users' images
        ("FROM dopq/alice/1", "Dockerfile:1: FROM 'dopq/alice/1' is the image of a job"),
        ("FROM docker.io/dopq/alice/1:latest", "image of a job"),
        ("FROM index.docker.io/dopq/x", "image of a job"),
        ("FROM dopq/x@sha256:" + "1" * 64, "image of a job"),
        ("ARG O=dop\nFROM ${O}q/alice/1", "image of a job"),
        ("FROM DOPQ/alice/1", "no name of an image"),
        ("FROM Docker.io/dopq/x", "no name of an image"),
        ("FROM busybox\nCOPY --from=dopq/alice/1 / /", "image of a job"),
        ("FROM busybox\ncopy --link --fr\\\nom=dopq/alice/1 / /", "image of a job"),
        ('FROM busybox\nCOPY --from="dopq/alice/1" / /', "image of a job"),
        ("FROM busybox\nRUN --mount=type=bind,from=dopq/alice/1,target=/x true", "image of a job"),
        ("FROM busybox\nRUN --mount=type=cache,FROM=dopq/alice/1,target=/x true", "image of a job"),
        ("FROM busybox\nRUN --mount=from=busybox,from=dopq/alice/1 true", "image of a job"),
        ("FROM busybox AS dopq\nFROM dopq/x", "image of a job"),
        ("FROM ../dopq/x", "no name of an image"),
        ("FROM docker.io//dopq/x", "no name of an image"),
        # which image it is cannot be told
        ("FROM $X", "Dockerfile:1: which image FROM means cannot be told: X has no value"),
        ("ARG X\nFROM $X", "X has no value"),
        ("ARG X=a\nARG X\nFROM $X", "declared twice"),
        ("ARG X=a Y=$X\nFROM $Y", "or from its own line"),
        ("ARG X=${X:-a}\nFROM $X", "is set from itself"),
        ("FROM image-$TARGETARCH", "TARGETARCH has a value with one builder"),
        ("FROM ${X#y}", "where this node does not follow"),
        ("ARG X=a\\b\nFROM x", "ARG before FROM is not of the form"),
        ("FROM a\nARG X=b\nFROM $X", "X has no value"),
        ("FROM bo\\\\x", "cannot be told"),
        ("FROM x\nCOPY --from=$X / /", "takes no variables"),
        ("FROM x\nRUN --mount=from=$X,target=/x true", "takes no variables"),
        ("FROM --platform=linux/$ARCH x", "which platform FROM means cannot be told"),
        ("ARG BUILDPLATFORM=linux/arm64\nFROM --platform=$BUILDPLATFORM x", "BUILDPLATFORM is the builder's own"),
        # stages
        ("FROM x\nCOPY --from=0 /a /b", "there is no stage 0 before this one"),
        ("FROM x\nFROM y\nCOPY --from=1 /a /b", "there is no stage 1"),
        ("FROM x AS y\nCOPY --from=Y /a /b", "names its own stage"),
        ("FROM x AS", "more than a base image"),
        ("FROM x AS 1y", "more than a base image"),
        ("FROM x y", "more than a base image"),
        # what the engine would fetch
        ("FROM x\nADD https://example.org/a /b", "Dockerfile:2: ADD may fetch 'https://example.org/a'"),
        ("FROM x\nADD HTTP://example.org/a /b", "ADD may fetch"),
        ("FROM x\nadd a.tar git@github.com:a/b.git /b", "ADD may fetch"),
        ("FROM x\nADD github.com/a/b /b", "ADD may fetch"),
        ("FROM x\nADD ssh://git@x/y /b", "ADD may fetch"),
        ("FROM x\nENV U=http://x\nADD $U /b", "ADD may fetch"),
        ('FROM x\nADD ["http://x/y", "/b"]', "ADD may fetch"),
        ('FROM x\nADD ["http\\u003a//x/y", "/b"]', "ADD may fetch"),
        ('FROM x\nADD ["http://x/y", "/b"', "begins like a JSON list"),
        ("FROM x\nADD --checksum=sha256:1 a /b", "'--checksum', which is not allowed"),
        ("FROM x\nADD --keep-git-dir=true a /b", "not allowed"),
        ("FROM x\nA\\\nDD h\\\nttp://x /b", "ADD may fetch"),
        # what a build may not have
        ("FROM x\nRUN --network=host true", "--network=host is not allowed in a build"),
        ("FROM x\nRUN --network=Host true", "not allowed"),
        ("FROM x\nRUN --security=insecure true", "--security=insecure is not allowed"),
        ("FROM x\nRUN --mount=type=tmpfs,target=/x --security=\"insecure\" true", "not allowed"),
        ("FROM x\nRUN --device=vendor.com/gpu=all true", "'--device', which is not allowed"),
        ("FROM x\nRUN --mount=type=ssh true", "type 'ssh' is not available"),
        ("FROM x\nRUN --mount=type=secret,id=a true", "type 'secret' is not available"),
        ("FROM x\nRUN --mount=type=$T,id=a true", "not available"),
        ("FROM x\nRUN --mount=type=bind,\"from=dopq/x\" true", "image of a job"),
        ("FROM x\nRUN --mount=type=bind,'\"from=dopq/x\"' true", "quote"),
        ("FROM x\nRUN --mount=type=bind,' from=dopq/x' true", "not known here"),
        ("FROM x\nONBUILD RUN true", "ONBUILD would run"),
        ("FROM x\nOnBuild COPY --from=dopq/x / /", "ONBUILD"),
        ("FROM x\nVOLUME /data /output/deep", "the volume '/output/deep' would swallow"),
        ('FROM x\nVOLUME ["/outdir//a"]', "would swallow"),
        # no Dockerfile at all
        ("RUN true\nFROM x", "Dockerfile:1: RUN comes before the first FROM"),
        ("ARG X=1", "Dockerfile: it has no FROM"),
        ("FROM x\nFORM y", "Dockerfile:2: 'FORM' is no instruction"),
        ("FROM x\nWOR\u212aDIR /x", "is no instruction"),
        ("// syntax=evil\nFROM x", "is no instruction"),
        ('{"syntax": "evil"}', "is no instruction"),
        ("# syntax=evil\nFROM x", "Dockerfile:1: '# syntax='"),
    ],
)  # fmt: skip
def test_what_is_refused_is_told_with_its_line(text: str, words: str) -> None:
    assert any(words in problem for problem in told(text)), told(text)


def test_heredocs_that_older_builders_would_run_as_instructions_are_refused() -> None:
    """A builder before Docker 23.0 stops at the unknown instruction EOF, unless the line before it goes on into it."""
    assert told("FROM x\nRUN <<EOF\nFROM dopq/alice/1\nRUN true\nEOF") == []
    for hidden in ("RUN <<EOF\nFROM dopq/alice/1\nRUN true \\\nEOF", "RUN <<run\nFROM dopq/alice/1\nrun"):
        assert any("do not know heredocs" in problem for problem in told(f"FROM x\n{hidden}"))


def test_every_problem_is_told_at_once() -> None:
    text = "FROM dopq/a/1\nADD http://x /\nRUN --network=host true\nFROM cafe\nONBUILD RUN x"
    lines = [problem.split(":")[1] for problem in told(text)]
    assert lines == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize(
    ("pattern", "image", "allowed"),
    [
        ("python", "python:3.11", True),
        ("python", "docker.io/library/python", True),
        ("python:3.*", "python:3.11-slim", True),
        ("python:3.*", "python:2.7", False),
        ("python:3.*", "python:3.11@sha256:" + "0" * 64, False),
        ("python:3.*", "notpython:3.1", False),
        ("docker.io/library/*", "ubuntu", True),
        ("docker.io/library/*", "someone/ubuntu", False),
        ("nvcr.io/nvidia/*", "nvcr.io/nvidia/pytorch:24.01", True),
        ("nvcr.io/nvidia/*", "nvcr.io.evil.org/nvidia/pytorch", False),
        ("*", "dopq/alice/1", False),
    ],
)
def test_bases_are_allowed_by_pattern(pattern: str, image: str, allowed: bool) -> None:
    rules = DockerfileRules((pattern,))
    assert (told(f"FROM {image}", rules) == []) == allowed
    assert (told(f"FROM scratch\nCOPY --from={image} / /", rules) == []) == allowed


def test_what_is_allowed_is_told() -> None:
    assert told("FROM perl", DockerfileRules(("python", "r-base"))) == [
        "Dockerfile:1: FROM 'perl' is not among the images that this node allows. Allowed are: python, r-base."
    ]


@pytest.mark.parametrize(
    ("reference", "full"),
    [
        ("python", "docker.io/library/python:latest"),
        ("a/b:c", "docker.io/a/b:c"),
        ("index.docker.io/python", "docker.io/library/python:latest"),
        ("localhost/x", "localhost/x:latest"),
        ("h:5000/a__b-c.d:T_1", "h:5000/a__b-c.d:T_1"),
    ],
)
def test_names_of_images_are_completed_as_docker_does(reference: str, full: str) -> None:
    name = parse_image_name(reference)
    assert name is not None
    assert f"{name.registry}/{name.path}{name.version}" == full


@pytest.mark.parametrize(
    "reference", ["", "/a", "a/", "a//b", "A", "a:", "a@b", "-a", "a b", "a:b:c", "a" * 300, "a$b"]
)
def test_what_is_no_name_of_an_image_is_none(reference: str) -> None:
    assert parse_image_name(reference) is None


def test_the_images_of_others_that_a_dockerfile_takes_from_are_named() -> None:
    text = (
        "ARG P=linux/arm64\nARG V=3\nFROM --platform=$BUILDPLATFORM python:$V AS a\nFROM scratch\nFROM a\n"
        "COPY --from=a --link /x /y\nCOPY --from=perl:5 /x /y\nRUN --mount=from=rust,target=/x true\n"
        "FROM --platform=$P ruby\nCOPY --from=0 /x /y\nRUN <<EOF\nFROM nothing\nEOF"
    )
    names = {BaseImage("python:3"), BaseImage("perl:5"), BaseImage("rust"), BaseImage("ruby", "linux/arm64")}
    assert base_images(text.encode()) == names


def test_variables_that_double_each_other_take_neither_time_nor_memory() -> None:
    doubling = "".join(f"ARG A{n}=$A{n - 1}$A{n - 1}$A{n - 1}\n" for n in range(1, 200))
    [problem] = told(f"ARG A0=aaaa\n{doubling}FROM $A199")
    assert "it comes to more than 4096 characters" in problem
