"""What verbs there are, and where: so that `--help` lists them without loading any.

The line of each is the first sentence of its docstring; a test holds the two together.
"""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """One verb: the module of this package that has it, and its line in `--help`."""

    module: str
    line: str


SECTIONS: dict[str, dict[str, Entry]] = {
    "Bundles": {
        "new": Entry("verbs_bundle", "Make a folder NAME that is a bundle, to be filled with your program."),
        "check": Entry("verbs_bundle", "Say all that a node would find wrong with a zip, tar or folder."),
        "schema": Entry("verbs_bundle", "Print the JSON Schema of a job's settings file, for editors."),
    },
    "Jobs": {
        "submit": Entry("verbs_jobs", "Hand in bundles: zips, tars, or folders that hold a Dockerfile."),
        "run": Entry("verbs_run", "Hand in a bundle, show what it prints, and bring its results."),
        "status": Entry("verbs_status", "Show what runs and waits, or all about the given jobs."),
        "why": Entry("verbs_queue", "Say why jobs wait: for what, held by whom, and until when at the latest."),
        "wait": Entry("verbs_wait", "Wait until jobs have ended."),
        "cancel": Entry("verbs_queue", "Cancel jobs."),
        "hold": Entry("verbs_queue", "Keep jobs out of the queue until they are released."),
        "release": Entry("verbs_queue", "Let held jobs go on."),
        "rerun": Entry("verbs_rerun", "Run ended jobs again, as new jobs with the same image."),
        "history": Entry("verbs_status", "Show jobs that have ended, the last to end first."),
    },
    "Results": {
        "logs": Entry("verbs_results", "Print a job's log."),
        "fetch": Entry("verbs_results", "Copy a job's logs, outputs and report into a folder."),
    },
    "Node": {
        "users": Entry("verbs_node", "Show what everybody used; who has the smallest penalty goes next."),
        "system": Entry("verbs_node", "Show the node: machine, GPUs, engine, queue, lock, warnings."),
    },
    "Account": {
        "register": Entry("verbs_login", "Ask a service to make you one of its users."),
        "login": Entry("verbs_login", "Log in to a service, and remember it."),
        "whoami": Entry("verbs_account", "Show as whom the service knows you, and where it is."),
        "passwd": Entry("verbs_account", "Change your password."),
        "logout": Entry("verbs_account", "End your token, at the service and here."),
    },
    "Admins": {
        "lock": Entry("verbs_node", "Start nothing new for a while."),
        "unlock": Entry("verbs_node", "Start jobs again."),
        "drain": Entry("verbs_node", "Start nothing new until `undrain`, also after a restart."),
        "undrain": Entry("verbs_node", "Start jobs again after a drain."),
        "clear-history": Entry("verbs_node", "Take all ended jobs out of the history."),
        "shutdown_queue": Entry("verbs_node", "Stop the service."),
    },
    "Shell": {
        "completion": Entry("verbs_shell", "Print what makes a shell complete verbs, options and jobs."),
    },
}  # fmt: skip

VERBS: dict[str, Entry] = {name: entry for verbs in SECTIONS.values() for name, entry in verbs.items()}
