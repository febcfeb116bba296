"""What is the admins': lock, drain, history, stop."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from dopq.access import Access, remote
from dopq.controller.desk import Desk
from dopq.users import User
from dopq.utils.log import logger
from dopq.wire import Plain

log = logger(__name__)


class Admins(Desk):
    """Calls for admins alone."""

    __slots__ = ()

    @remote(Access.ADMIN, changes=True)
    def dopq_system_lock(
        self,
        caller: User,
        lock: bool,
        reason: Annotated[str, Field(max_length=200)] = "",
        minutes: Annotated[float, Field(gt=0, le=7 * 24 * 60)] = 60.0,
    ) -> Plain:
        """Lock the queue for so many minutes, or unlock it. Running jobs go on; nothing new starts."""
        lease = timedelta(minutes=minutes) if lock else None
        self.platform.exec_dopq_lock_state(caller.name, reason or "no reason given", lease)
        log.info("queue_locked" if lock else "queue_unlocked", user=caller.name, reason=reason)
        return self.platform.get_dopq_status()

    @remote(Access.ADMIN, changes=True)
    def dopq_system_drain(self, caller: User, drain: bool, reason: Annotated[str, Field(max_length=200)] = "") -> Plain:
        """Start nothing new until told otherwise, also after a restart; or start jobs again. Running jobs go on."""
        if drain:
            self.platform.drain(caller.name, reason or "no reason given")
        else:
            self.platform.undrain()
        log.info("node_drains" if drain else "node_drains_no_more", user=caller.name, reason=reason)
        return self.platform.get_dopq_status()

    @remote(Access.ADMIN, changes=True)
    def clear_dopq_history(self, caller: User) -> int:
        """Clear the history; how many jobs it held."""
        cleared = self.platform.clear_dopq_history_list()
        log.info("history_cleared", user=caller.name, jobs=cleared)
        return cleared

    @remote(Access.ADMIN, changes=True)
    def shutdown_queue(self, caller: User) -> Plain:
        """Stop the service. Running jobs go on in their containers and are found again at the next start."""
        log.info("shutdown_requested", user=caller.name)
        status = self.platform.get_dopq_status()
        self.request_shutdown()
        return status
