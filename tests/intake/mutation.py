"""Good files with a few bytes changed, cut out, doubled or put in, and words of the format put in their midst."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

EDITS = ("set", "set", "set", "insert", "insert", "cut", "double", "move")


@st.composite
def mutated(draw: st.DrawFn, seeds: Sequence[bytes], tokens: Sequence[bytes], most_edits: int = 6) -> bytes:
    """One of `seeds` after one to `most_edits` edits; `tokens` are put in more often than any bytes."""
    data = bytearray(draw(st.sampled_from(seeds)))
    piece = st.sampled_from(tokens) | st.binary(min_size=1, max_size=8)
    for _ in range(draw(st.integers(1, most_edits))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(EDITS)):
            case "set":
                new = draw(piece)
                data[at : at + len(new)] = new
            case "insert":
                data[at:at] = draw(piece)
            case "cut":
                del data[at : at + draw(st.integers(1, 64))]
            case "double":
                data[at:at] = data[at : at + draw(st.integers(1, 600))]
            case "move":
                there, size = draw(st.integers(0, len(data))), draw(st.integers(1, 64))
                data[at:at] = data[there : there + size]
    return bytes(data)
