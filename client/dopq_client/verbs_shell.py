"""The verb completion."""

from __future__ import annotations

import click

from dopq_client.session import Session


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what makes a shell complete verbs, options and jobs.

    \b
    bash: eval "$(dopq-client completion bash)"              in ~/.bashrc
    zsh:  eval "$(dopq-client completion zsh)"               in ~/.zshrc, after compinit
    fish: dopq-client completion fish | source               in ~/.config/fish/config.fish
    """
    from click.shell_completion import get_completion_class

    session: Session = context.obj
    kind = get_completion_class(shell)
    assert kind is not None, "click knows these three"
    session.say(kind(context.find_root().command, {}, "dopq-client", "_DOPQ_CLIENT_COMPLETE").source())
