"""The node: who uses it, and how it stands; for admins, what it shall do."""

from __future__ import annotations

from typing import cast

from dopq.wire import Plain
from dopq_client.client.desk import Desk
from dopq_client.shapes import UserStatistics


class Node(Desk):
    """Looking at the node, and for admins the switches."""

    def users(self) -> list[UserStatistics]:
        """Usage, penalty and jobs of every user."""
        return cast("list[UserStatistics]", self._link.call("get_dopq_user_statistics"))

    def system(self) -> Plain:
        """The node: machine, GPUs, engine, queue, lock, disk, warnings."""
        return cast("Plain", self._link.call("get_dopq_system_status"))

    def lock(self, reason: str = "", minutes: float = 60.0) -> Plain:
        """Start nothing new for so many minutes; running jobs go on. The queue's status."""
        return cast("Plain", self._link.call("dopq_system_lock", True, reason, minutes))

    def unlock(self) -> Plain:
        """Start jobs again. The queue's status."""
        return cast("Plain", self._link.call("dopq_system_lock", False))

    def drain(self, reason: str = "") -> Plain:
        """Start nothing new until `undrain`, also after a restart; running jobs go on. The queue's status."""
        return cast("Plain", self._link.call("dopq_system_drain", True, reason))

    def undrain(self) -> Plain:
        """Start jobs again. The queue's status."""
        return cast("Plain", self._link.call("dopq_system_drain", False))

    def clear_history(self) -> int:
        """Clear the history; how many jobs it held."""
        return int(self._link.call("clear_dopq_history"))

    def shutdown_queue(self) -> Plain:
        """Stop the service; containers go on and are found again at its next start. The queue's status before."""
        return cast("Plain", self._link.call("shutdown_queue"))
