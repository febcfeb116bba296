"""`dopq-client`: the users' command.

Verbs import what they need when they run: `--version`, `--help` and completion have to answer at once.
"""

from __future__ import annotations

import errno
import traceback
from typing import Any

import click

from dopq import __version__
from dopq.errors import DopqError
from dopq_client import (
    failures,
    verbs_account,
    verbs_bundle,
    verbs_jobs,
    verbs_login,
    verbs_node,
    verbs_nodes,
    verbs_queue,
    verbs_results,
)
from dopq_client.exits import Exit
from dopq_client.options import profile_option
from dopq_client.session import Session

SECTIONS: dict[str, tuple[click.Command, ...]] = {
    "Bundles": (verbs_bundle.new, verbs_bundle.check, verbs_bundle.schema),
    "Jobs": (
        verbs_jobs.submit,
        verbs_jobs.status,
        verbs_queue.why,
        verbs_jobs.wait,
        verbs_queue.cancel,
        verbs_queue.hold,
        verbs_queue.release,
        verbs_queue.rerun,
        verbs_jobs.history,
    ),
    "Results": (verbs_results.logs, verbs_results.fetch),
    "Node": (verbs_node.users, verbs_node.system, verbs_nodes.nodes),
    "Account": (
        verbs_login.register,
        verbs_login.login,
        verbs_account.whoami,
        verbs_account.passwd,
        verbs_account.logout,
    ),
    "Admins": (
        verbs_node.lock,
        verbs_node.unlock,
        verbs_node.drain,
        verbs_node.undrain,
        verbs_node.clear_history,
        verbs_node.shutdown_queue,
    ),
}


class Verbs(click.Group):
    """The verbs in their sections, and the one place where errors become words and exit codes."""

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """List the verbs section by section."""
        width = max(len(name) for name in self.commands)
        for title, verbs in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(
                    [(str(verb.name).ljust(width), verb.get_short_help_str(formatter.width)) for verb in verbs]
                )

    def invoke(self, context: click.Context) -> Any:
        """Run the verb. Nothing but an exit code and words leaves here; a traceback only with --debug."""
        session = context.ensure_object(Session)
        try:
            return super().invoke(context)
        except (click.ClickException, click.exceptions.Exit):
            raise
        except (KeyboardInterrupt, click.Abort):
            session.note("\nInterrupted.")
            context.exit(Exit.INTERRUPTED)
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise  # whoever read our output has gone; click ends quietly
            if session.debug:
                traceback.print_exc()
            known = error if isinstance(error, DopqError) else failures.defect(error)
            context.exit(failures.fail(session, known))
        finally:
            session.close()


@click.group(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="JOB is a number, a name, @ (my newest job) or @~N (the N-th before it).",
)
@click.version_option(__version__, prog_name="dopq-client")
@click.option("--debug", is_flag=True, hidden=True)
@profile_option
@click.pass_context
def main(context: click.Context, debug: bool) -> None:
    """Hand jobs to a DoPQ node, watch them, and get their results."""
    context.ensure_object(Session).debug = debug


for _verbs in SECTIONS.values():
    for _verb in _verbs:
        main.add_command(profile_option(_verb))


if __name__ == "__main__":
    main(prog_name="dopq-client")
