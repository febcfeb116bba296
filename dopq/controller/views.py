"""The five views of DoPQ 1.0, and the neighbourhood."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dopq.access import Access, Whose, remote
from dopq.controller.arguments import NodeReference
from dopq.controller.desk import Desk, may_act_for, told
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
    def get_enqueued_containers_info(
        self, caller: User, limit: Annotated[int, Field(ge=1, le=10_000)] = 1000
    ) -> list[Plain]:
        """Jobs before their start, in queue order."""
        return told(caller, self.platform.get_enqueued_container_list(limit))

    @remote(Access.USER, Whose.EVERYBODYS)
    def get_containers_history_info(
        self, caller: User, limit: Annotated[int, Field(ge=1, le=10_000)] = 100, mine: bool = False
    ) -> list[Plain]:
        """Ended jobs, the last to end first; `mine`: only the caller's."""
        return told(caller, self.platform.get_completed_containers_info(limit, caller.name if mine else None))

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
        return self.nodes.to_wire()

    @remote(Access.USER)
    def refresh_nodes(self, caller: User, hops: Annotated[int, Field(ge=1, le=8)] = 1) -> Plain:  # noqa: ARG002
        """Ask all known nodes, and those whom they know, for so many hops; how many were asked, and answered in 4 s."""
        return self.nodes.refresh(hops)

    @remote(Access.USER, changes=True)
    def measure_node_speed(self, caller: User, node: NodeReference) -> Plain:  # noqa: ARG002 - one at a time is enough
        """Begin to measure the speed to and from a trusted node; `get_nodes` has it within 15 s."""
        return self.nodes.begin_speed_test(node)
