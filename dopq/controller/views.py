"""The five views of DoPQ 1.0, and the neighbourhood."""

from __future__ import annotations

from collections.abc import Sequence

from dopq.access import Access, Whose, remote
from dopq.controller.arguments import Limit, Skip, States, Text, Time
from dopq.controller.desk import Desk, may_act_for, told
from dopq.job import StateName, UserName
from dopq.peers.table import table_to_wire
from dopq.selection import Selection
from dopq.users import User
from dopq.wire import Plain


class Views(Desk):
    """The node and its queue, as users see them."""

    __slots__ = ()

    @remote(Access.USER, Whose.EVERYBODYS)
    def get_running_containers_info(self, caller: User) -> list[Plain]:
        """Jobs that occupy the node."""
        return told(caller, self.platform.get_running_info())

    @remote(Access.USER, Whose.EVERYBODYS)
    def get_enqueued_containers_info(self, caller: User, limit: Limit = 1000) -> list[Plain]:
        """Jobs before their start, in queue order."""
        return told(caller, self.platform.get_enqueued_container_list(limit))

    @remote(Access.USER, Whose.EVERYBODYS)
    def get_containers_history_info(
        self,
        caller: User,
        limit: Limit = 100,
        mine: bool = False,
        user: Text | None = None,
        states: States = (),
        since: Time | None = None,
    ) -> list[Plain]:
        """Ended jobs, the last to end first; what is given besides says which."""
        wanted = Selection(_whose(caller, mine, user), _of(states), since)
        return told(caller, self.platform.get_completed_containers_info(limit, wanted))

    @remote(Access.USER, Whose.EVERYBODYS)
    def get_jobs(
        self,
        caller: User,
        limit: Limit = 50,
        skip: Skip = 0,
        mine: bool = False,
        user: Text | None = None,
        states: States = (),
    ) -> Plain:
        """A page of the jobs that have not ended, and how many there are: first those that run, then the queue."""
        page = self.platform.page(Selection(_whose(caller, mine, user), _of(states)), limit, skip)
        counts = {str(state): count for state, count in page.counts.items()}
        return {"jobs": told(caller, page.jobs), "total": sum(counts.values()), "counts": counts}

    @remote(Access.USER)
    def get_dopq_system_status(self, caller: User) -> Plain:
        """The node: machine, GPUs, engine, queue, lock, disk, warnings; of the drops that wait, the caller's own."""
        system = self.system()
        deferred = [drop for drop in system.get("deferred", []) if may_act_for(caller, drop["user"])]
        return system | {"deferred": deferred, "queue": self.platform.get_dopq_status()}

    @remote(Access.USER)
    def get_dopq_user_statistics(self, caller: User) -> list[Plain]:  # noqa: ARG002 - fairness needs to be seen
        """Usage, penalty and jobs of every user."""
        return self.platform.get_user_statistics()

    @remote(Access.USER)
    def get_nodes(self, caller: User) -> list[Plain]:  # noqa: ARG002 - all may see the neighbourhood
        """The node table: every node that this one knows, itself included."""
        return table_to_wire(self.nodes())


def _whose(caller: User, mine: bool, user: str | None) -> UserName | None:
    return caller.name if mine else UserName(user) if user is not None else None


def _of(states: Sequence[str]) -> frozenset[StateName]:
    return frozenset(StateName(state) for state in states)
