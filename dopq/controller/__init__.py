"""DopqController: what may be asked of a node from outside.

Thin: look up, check whose it is, ask the owner of the truth, answer with plain data. It knows nothing of the wire;
the boundary calls exactly the methods marked with `@remote`, as the caller that it has found out. The calls of DoPQ 1.0
keep their names. No call waits for a build or a job.
"""

from __future__ import annotations

from dopq.controller.admins import Admins
from dopq.controller.front_door import FrontDoor
from dopq.controller.handing_in import HandingIn
from dopq.controller.jobs import Jobs
from dopq.controller.outcome import Outcome
from dopq.controller.views import Views


class DopqController(FrontDoor, Views, Jobs, HandingIn, Outcome, Admins):
    """The remote face of one node: all its calls, a room for each kind."""

    __slots__ = ()
