"""Frames: those of the installed Pyro5, to the byte."""

from __future__ import annotations

import Pyro5.protocol
import pytest
from Pyro5.serializers import serializers

from dopq.protocol import frames
from dopq.protocol.frames import CORRELATED, HEADER_BYTES, BadFrame, Kind, answer, frame, read_header

EVERY_KIND = frozenset(Kind)


def test_the_numbers_are_pyro5s() -> None:
    assert frames.VERSION == Pyro5.protocol.PROTOCOL_VERSION
    assert Pyro5.protocol._magic_number == frames.MAGIC
    assert Pyro5.protocol._header_size == HEADER_BYTES
    assert frames._HEADER.format == Pyro5.protocol._header_format
    assert serializers["msgpack"].serializer_id == frames.MSGPACK
    assert Pyro5.protocol.FLAGS_CORR_ID == CORRELATED
    assert Pyro5.protocol.FLAGS_EXCEPTION == frames.EXCEPTION
    assert {f"MSG_{kind.name.replace('_', '')}": kind.value for kind in Kind} == {
        name: value for name, value in vars(Pyro5.protocol).items() if name.startswith("MSG_")
    }


def test_pyro5_reads_our_frames_and_we_read_its() -> None:
    ours = Pyro5.protocol.ReceivingMessage(frame(Kind.INVOKE, 7, b"abc")[:HEADER_BYTES])
    assert (ours.type, ours.seq, ours.serializer_id, ours.data_size) == (4, 7, 4, 3)
    theirs = Pyro5.protocol.SendingMessage(5, 0, 65535, 4, b"xyz", {"ABCD": b"12"})
    head = read_header(bytes(theirs.data[:HEADER_BYTES]), EVERY_KIND, CORRELATED, 100)
    assert (head.kind, head.seq, head.payload_bytes, head.annotations_bytes, head.body_bytes) == (5, 65535, 3, 10, 13)


def test_an_answer_has_the_number_and_the_correlation_of_its_question() -> None:
    question = frame(Kind.INVOKE, 9, b"", flags=CORRELATED, correlation=b"c" * 16)
    head = read_header(question, EVERY_KIND, CORRELATED, 0)
    reply = read_header(answer(head, Kind.RESULT, b"abc")[:HEADER_BYTES], {Kind.RESULT}, CORRELATED, 3)
    assert (reply.seq, reply.correlation, reply.flags) == (9, b"c" * 16, CORRELATED)


@pytest.mark.parametrize(
    ("kinds", "flags", "most", "what"),
    [
        ({Kind.CONNECT}, CORRELATED, 100, "cannot come now"),
        ({Kind.INVOKE}, 0, 100, "flags"),
        ({Kind.INVOKE}, CORRELATED, 2, "too large"),
    ],
)
def test_a_frame_that_may_not_come_now_is_refused_by_its_number(
    kinds: set[Kind], flags: int, most: int, what: str
) -> None:
    with pytest.raises(BadFrame, match=what) as refused:
        read_header(frame(Kind.INVOKE, 9, b"abc", flags=CORRELATED)[:HEADER_BYTES], kinds, flags, most)
    assert refused.value.seq == 9
