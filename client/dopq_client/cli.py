"""`dopq-client`: the users' command.

Every verb is loaded when it is called: `--version`, `--help` and completion have to answer at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import click

from dopq import __version__
from dopq_client import ending
from dopq_client.catalogue import SECTIONS, VERBS
from dopq_client.options import profile_option
from dopq_client.session import Session

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class Verbs(click.Group):
    """The verbs in their sections, each loaded when it is asked for, and the one place where errors end."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Every verb's name."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """A verb, by its name."""
        if cmd_name not in self.commands and cmd_name in VERBS:
            module = importlib.import_module(f"dopq_client.{VERBS[cmd_name].module}")
            verb: click.Command = getattr(module, cmd_name.replace("-", "_"))
            self.add_command(profile_option(verb))
        return self.commands.get(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        """List the verbs section by section."""
        width = max(map(len, VERBS))
        room = max(formatter.width - width - 6, 10)
        for title, verbs in SECTIONS.items():
            with formatter.section(title):
                rows = [(name.ljust(width), _shortened(entry.line, room)) for name, entry in verbs.items()]
                formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The verbs and options that begin so; none is loaded for that."""
        from click.shell_completion import CompletionItem

        verbs = [CompletionItem(name, help=VERBS[name].line) for name in VERBS if name.startswith(incomplete)]
        return [*verbs, *click.Command.shell_complete(self, ctx, incomplete)]

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb. Nothing but an exit code and words leaves here; a traceback only with --debug."""
        session = ctx.ensure_object(Session)
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit):
            raise
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - whatever it is, it ends in words
            ctx.exit(ending.code_of(session, error))
        finally:
            session.close()

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command line, and see its output off."""
        ending.let_no_character_fail()
        try:
            return super().main(*args, **extra)
        except SystemExit as end:
            raise SystemExit(ending.flushed(end.code)) from None
        except OSError as error:  # of what click prints itself, such as --help
            code = ending.of_output(error)
            if code is None:
                raise
            raise SystemExit(code) from None


def _shortened(line: str, room: int) -> str:
    """A line of `--help`, cut where there is no room for it."""
    return line if len(line) <= room else f"{line[: room - 3].rstrip()}..."


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


if __name__ == "__main__":
    main(prog_name="dopq-client")
