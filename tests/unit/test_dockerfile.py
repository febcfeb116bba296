"""Reading Dockerfiles: instructions with their lines, and a problem wherever two builders could disagree."""

from __future__ import annotations

import pytest

from dopq.container_handler.dockerfile import read_dockerfile
from dopq.container_handler.dockerfile_expansion import Unclear, expand
from dopq.container_handler.dockerfile_flags import Flag, UnclearFlags, split_flags
from dopq.container_handler.dockerfile_heredoc import Heredoc, UnclearHeredoc, find_heredocs


def instructions(text: str | bytes) -> list[tuple[int, str, str]]:
    dockerfile = read_dockerfile(text if isinstance(text, bytes) else text.encode())
    assert dockerfile.problems == ()
    return [(it.line, it.word, it.arguments) for it in dockerfile.instructions]


def problems(text: str | bytes) -> list[str]:
    return [str(p) for p in read_dockerfile(text if isinstance(text, bytes) else text.encode()).problems]


def test_instructions_have_their_lines_and_their_case_does_not_matter() -> None:
    text = '# a comment\n\nfrom base\n  Run true\nCMD ["x"]'
    assert instructions(text) == [(3, "FROM", "base"), (4, "RUN", "true"), (5, "CMD", '["x"]')]


def test_continued_lines_are_joined_as_they_stand_and_named_by_the_first() -> None:
    assert instructions("FROM base\nRUN a \\\n  b \\\t \n\n# no, not here \\\n  # nor here\n  c\nRUN d") == [
        (1, "FROM", "base"),
        (2, "RUN", "a   b   c"),
        (7 + 1, "RUN", "d"),
    ]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("FR\\\nOM base", [(1, "FROM", "base")]),
        ("\\\nFROM base", [(1, "FROM", "base")]),
        ("FROM \\\n base \\", [(1, "FROM", "base")]),
        ("FROM base\nRUN a\\\\\nRUN b", [(1, "FROM", "base"), (2, "RUN", "a\\\\"), (3, "RUN", "b")]),
        ("FROM base\nRUN a`\nRUN b", [(1, "FROM", "base"), (2, "RUN", "a`"), (3, "RUN", "b")]),
        ("# escape=`\nFROM base\nRUN a\\\nRUN b `\nc", [(2, "FROM", "base"), (3, "RUN", "a\\"), (4, "RUN", "b c")]),
        ("  #\tESCAPE = ` \nFROM ba`\nse", [(2, "FROM", "base")]),
        ("FROM base\r\nRUN a \\\r\n b\r\n", [(1, "FROM", "base"), (2, "RUN", "a  b")]),
        ("\ufeffFROM base", [(1, "FROM", "base")]),
        ("\ufeff# escape=`\nFROM ba`\nse", [(2, "FROM", "base")]),
        ("# check=skip=all\nFROM base", [(2, "FROM", "base")]),
        ("FROM base\n# syntax=late\n# escape=`\nRUN a\\\nb", [(1, "FROM", "base"), (4, "RUN", "ab")]),
    ],
)  # fmt: skip
def test_continuations_directives_and_line_ends_are_read_as_builders_do(text: str, read: list[object]) -> None:
    assert instructions(text) == read


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("# syntax=evil/frontend\nFROM base", "Dockerfile:1: '# syntax='"),
        ("#syntax=evil/frontend\nFROM base", "Dockerfile:1: '# syntax='"),
        ("#\tSyNtAx =evil\nFROM base", "Dockerfile:1: '# syntax='"),
        ("#!/usr/bin/x\n\n# syntax=evil\nFROM base", "Dockerfile:3: '# syntax='"),
        ("#\u00a0syntax=evil\nFROM base", "Dockerfile:1: '# syntax='"),
        ("\ufeff# syntax=evil\nFROM base", "Dockerfile:1: '# syntax='"),
        ("# hello\n# escape=`\nFROM base", "Dockerfile:2: '# escape='"),
        ("# escape=x\nFROM base", "Dockerfile:1: '# escape='"),
        ("FROM base\nRUN a\0b", "Dockerfile:2: it holds the control character '\\x00'"),
        ("FROM base\rRUN b", "Dockerfile:1: it holds the control character '\\r'"),
        ("FROM base\r\r\nRUN b", "Dockerfile:1: it holds the control character '\\r'"),
        (b"FROM base\nRUN \xff", "Dockerfile:2: byte 5 of the line is no UTF-8"),
        ("FROM base\nRUN " + "x" * 65_535, "Dockerfile:2: the line has 65539 bytes"),
        ("FROM base\n\u00a0# comment?\nRUN true", "Dockerfile:2: it holds a space"),
        ("FROM\u2003base", "Dockerfile:1: it holds a space"),
        ("", "Dockerfile: there is no instruction"),
        ("# only\n\n# comments", "Dockerfile: there is no instruction"),
        ("FROM base\nRUN <<EOF\ntrue", "Dockerfile:2: the heredoc 'EOF' has no end"),
        ("FROM base\nRUN cat << EOF\ntrue\nEOF", "Dockerfile:2: '<<' is here neither"),
        ("FROM base\nRUN --network=a\\b true", "Dockerfile:2: a flag holds '\\\\'"),
        ("FROM base\nCOPY [\"a\", \"b\"] <<EOF", "Dockerfile:2: '<<' follows something"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_for_certain_is_a_problem_with_its_line(text: str | bytes, words: str) -> None:
    assert any(problem.startswith(words) for problem in problems(text)), problems(text)


def test_a_file_of_far_too_many_lines_is_one_problem() -> None:
    assert problems("x\n" * 20_000) == [
        "Dockerfile: it has 20001 lines, 20000 are allowed. Put long scripts into files and COPY them."
    ]


@pytest.mark.parametrize("word", ["${A:-" * 5_000 + "}" * 5_000, "$A" * 1_000, "x" * 5_000])
def test_expansions_have_a_depth_and_a_length(word: str) -> None:
    with pytest.raises(Unclear, match="more than"):
        expand(word, {"A": "aaaaaaaa"} if ":-" not in word else {})


def test_every_unreadable_line_is_told() -> None:
    assert len(problems(b"FROM \xff\nRUN a\0\nRUN ok\nRUN \xfe")) == 3


def test_heredocs_are_no_instructions_whatever_they_look_like() -> None:
    text = "FROM base\nRUN <<EOF\nFROM evil\n# x\nRUN \\\nEOF\nCOPY <<-'a' <<\"b\" /x/\n\ta b\n\ta\nADD\nb\nCMD x"
    read = read_dockerfile(text.encode())
    assert read.problems == ()
    assert [(it.line, it.word) for it in read.instructions] == [(1, "FROM"), (2, "RUN"), (7, "COPY"), (12, "CMD")]
    assert read.instructions[2].heredocs == (Heredoc("a", strips_tabs=True), Heredoc("b"))


def test_only_run_copy_and_add_have_heredocs_and_json_has_none() -> None:
    text = 'FROM base\nCMD <<EOF\nENV A=<<EOF\nRUN ["a", "<<EOF"]\nLABEL x=1'
    assert [word for _, word, _ in instructions(text)] == ["FROM", "CMD", "ENV", "RUN", "LABEL"]


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("RUN cat <<EOF", ["EOF"]),
        ("RUN cat <<A 3<<-B >/x", ["A", "B"]),
        ("RUN echo 'a <<EOF' \"b <<EOF\"", []),
        ('RUN python -c "print(1 << 3)"', []),
        ("RUN cat <<<EOF", []),
        ("RUN echo $((1<<3))", []),
        ("RUN x=$((1<<3|$N<<4)); cat <<EOF", ["EOF"]),
        ('RUN "it\\"s <<X" <<Y', ["Y"]),
        ("RUN echo $HOME ${PATH} <<EOF", ["EOF"]),
    ],
)
def test_a_heredoc_is_a_word_of_its_own_outside_quotes(line: str, names: list[str]) -> None:
    assert [heredoc.name for heredoc in find_heredocs(line)] == names


@pytest.mark.parametrize(
    "line",
    [
        "RUN cat << EOF",
        "RUN cat<<EOF",
        "RUN echo $((1 << 3))",
        "RUN echo $(( 1<<3 ))",
        "RUN echo $((1<< <<EOF",
        "RUN $X<<EOF",
        "RUN $(<<<<EOF",
        "RUN it's <<EOF",
        'RUN "open <<EOF',
        r"RUN \<<EOF",
        r"RUN \' <<EOF '",
        "RUN echo ${X:-' <<EOF '}",
        'RUN <<E"O"F',
        "RUN <<<<EOF",
        "RUN <<EOF; true",
        "RUN <<'EOF\"",
    ],
)
def test_what_may_be_a_heredoc_or_not_is_refused(line: str) -> None:
    with pytest.raises(UnclearHeredoc):
        find_heredocs(line)


def test_flags_end_where_the_first_word_without_dashes_begins() -> None:
    assert split_flags("--from=a  --link\t--chown='1 2' x --y") == (
        (Flag("from", "a"), Flag("link", None), Flag("chown", "1 2")),
        "x --y",
    )
    assert split_flags('--fr"om=b"') == ((Flag("from", "b"),), "")


@pytest.mark.parametrize("text", ["-- x", "--=x", "--a='x y", "--a=\\x", "--a=`x", "--a=\u00e0 x"])
def test_flags_that_builders_read_in_several_ways_are_refused(text: str) -> None:
    with pytest.raises(UnclearFlags):
        split_flags(text)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("python:3", "python:3"),
        ("python:$V", "python:3.11"),
        ("${V}-${E}x", "3.11-x"),
        ("${V:-1}${U:-2}${E:-3}", "3.1123"),
        ("${V-1}${U-2}${E-3}", "3.112"),
        ("${V:+1}${U:+2}${E:+3}", "1"),
        ("${V+1}${U+2}${E+3}", "13"),
        ("${U:-a-${V}-b}", "a-3.11-b"),
        ('"python:$V"', "python:3.11"),
        ("'python'", "python"),
    ],
)
def test_words_are_expanded_as_builders_do(word: str, value: str) -> None:
    assert expand(word, {"V": "3.11", "E": ""}) == value


@pytest.mark.parametrize(
    "word",
    ["$U", "${U}", "$", "$1", "${V", "${V:?x}", "${V#3}", "${V%1}", "${V/3/4}", "${!V}", "a\\b", "'$V'", 'a"b"',
     "$TARGETARCH", "${BUILDPLATFORM:-x}", "${V}}", "{a}"],
)  # fmt: skip
def test_words_whose_value_is_not_certain_are_refused(word: str) -> None:
    with pytest.raises(Unclear):
        expand(word, {"V": "3.11"})
