"""The state of a node for people: whatever it tells, section by section.

What a node can tell grows with its parts (disks, peers), so this draws the shape of the data, not a fixed list; but for
GPUs, of which there is more to tell than fits into a line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dopq.clean import clean
from dopq.wire import Plain
from dopq_client.gpu_view import gpus_view
from dopq_client.words import NOTHING, local, parse_time, size, span


def system_view(system: Plain, now: datetime) -> RenderableType:
    """Every section of a node's status under its heading; lists of like things as tables."""
    return Group(*_section(system, now))


def _section(values: Mapping[str, object], now: datetime) -> Iterator[RenderableType]:
    """The plain facts first, then what is a section of its own."""
    inner = {key: value for key, value in values.items() if value and (isinstance(value, Mapping) or _rows(value))}
    yield _facts({key: value for key, value in values.items() if key not in inner}, now)
    for key, value in inner.items():
        yield Text()
        yield Text(_label(key).upper(), "bold")
        if isinstance(value, Mapping):
            yield from _section(value, now)
        elif key == "gpus":
            yield from gpus_view(_rows(value))
        else:
            yield _table(_rows(value), now)


def _rows(value: object) -> list[Mapping[str, object]]:
    return [row for row in value if isinstance(row, Mapping)] if isinstance(value, list) else []


def _table(rows: list[Mapping[str, object]], now: datetime) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    columns = list(dict.fromkeys(key for row in rows for key in row))
    for column in columns:
        table.add_column(_label(column), overflow="fold")
    for row in rows:
        table.add_row(*(_value(column, row.get(column), now) for column in columns))
    return table


def _facts(values: Mapping[str, object], now: datetime) -> RenderableType:
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for key, value in values.items():
        facts.add_row(_label(key), _value(key, value, now))
    return facts


def _label(key: str) -> str:
    """A key in words: its unit is shown with the value."""
    for unit in ("_bytes", "_s", "_at"):
        key = key.removesuffix(unit)
    return clean(key).replace("_", " ")


def _value(key: str, value: object, now: datetime) -> str:
    if value in (None, [], {}):
        return NOTHING
    match value:
        case list():
            return "\n".join(_value(key, one, now) for one in value)
        case int() | float():
            return _number(key, value)
        case _:
            return local(str(value), now) if parse_time(str(value)) else clean(value)


def _number(key: str, value: float) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if key.endswith("_bytes"):
        return size(value)
    if key.endswith("_s"):
        return span(value)
    return str(value) if isinstance(value, int) else f"{value:.4g}"
