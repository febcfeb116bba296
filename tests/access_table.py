"""Who may call what, written down a second time: a change of the table is a change of this file, seen by its reviewer."""

from __future__ import annotations

import inspect

from dopq.controller import DopqController

TABLE: dict[str, tuple[str, str, bool]] = {
    # call: who, whose job, changes something
    "begin_upload": ("user", "-", True),
    "cancel_job": ("user", "own", True),
    "change_password": ("anybody", "-", True),
    "clear_dopq_history": ("admin", "-", True),
    "delete_req_enqueued_containers": ("user", "own", True),
    "dopq_system_drain": ("admin", "-", True),
    "dopq_system_lock": ("admin", "-", True),
    "get_containers_history_info": ("user", "everybody's", False),
    "get_dopq_system_status": ("user", "-", False),
    "get_dopq_user_statistics": ("user", "-", False),
    "get_enqueued_containers_info": ("user", "everybody's", False),
    "get_explanation": ("user", "own", False),
    "get_job": ("user", "everybody's", False),
    "get_job_story": ("user", "own", False),
    "get_limits": ("anybody", "-", False),
    "get_nodes": ("user", "-", False),
    "get_report": ("user", "own", False),
    "get_running_containers_info": ("user", "everybody's", False),
    "hello": ("anybody", "-", False),
    "hold_job": ("user", "own", True),
    "list_results": ("user", "own", False),
    "login": ("anybody", "-", True),
    "logout": ("anybody", "-", True),
    "measure_node_speed": ("user", "-", True),
    "read_log": ("user", "own", False),
    "read_result": ("user", "own", False),
    "refresh_nodes": ("user", "-", False),
    "register": ("anybody", "-", True),
    "release_job": ("user", "own", True),
    "rerun_job": ("user", "own alone", True),
    "send_chunk": ("user", "-", False),
    "shutdown_queue": ("admin", "-", True),
    "submit": ("user", "-", True),
    "wait_for_change": ("user", "-", False),
    "whoami": ("user", "-", False),
}

PEERS_TABLE: dict[str, tuple[str, str, bool]] = {
    # of other nodes, on an object of their own
    "compare_nodes": ("peer", "-", False),
    "echo": ("peer", "-", False),
    "give_bytes": ("peer", "-", False),
    "take_bytes": ("peer", "-", False),
    "trade_nodes": ("peer", "-", False),
}

NAMES_TABLE: dict[str, tuple[str, str, bool]] = {
    # the nameserver's
    "count": ("user", "-", False),
    "list": ("user", "-", False),
    "lookup": ("anybody", "-", False),
    "ping": ("anybody", "-", False),
    "register": ("user", "-", True),
    "remove": ("user", "-", True),
}


def parameters(method: str, *, all_of_them: bool = True) -> list[str]:
    """The names of a call's arguments; without `all_of_them` those that may be left out are."""
    signature = inspect.signature(getattr(DopqController, method))
    told = list(signature.parameters.values())[2:]  # without self and the caller
    return [it.name for it in told if all_of_them or it.default is it.empty]
