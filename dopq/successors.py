"""Who comes next, and where: the decision taken again as if one job had just left.

Pure. It holds as long as nothing else happens: whoever acts on it ahead has to be ready to have been wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from dopq.job import JobId
from dopq.lines import Queue
from dopq.queue_model import Start, View, decide


def successors(queue: Queue, view: View, leaving: JobId | None) -> tuple[Start, ...]:
    """Who starts, and on which GPUs, when this job has left the node; None: as it is. The queue is not changed.

    `view.order` has to be that of the moment after it has left: what it used counts in the order.
    """
    return decide(queue, replace(view, holding=tuple(it for it in view.holding if it.id != leaving))).starts


def first_distinct(answers: Iterable[Iterable[Start]], most: int) -> tuple[Start, ...]:
    """The starts of several answers, the first answer's first, each once, and at most so many.

    A job is in it once for each set of GPUs that it might get.
    """
    found: dict[Start, None] = {}
    for starts in answers:
        for start in starts:
            if len(found) == most:
                return tuple(found)
            found.setdefault(start)
    return tuple(found)
