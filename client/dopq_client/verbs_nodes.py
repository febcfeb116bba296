"""Verbs about the lab's other nodes: what machines there are, how near, and how long one waits there."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from dopq.clean import clean
from dopq.errors import NotFound, TryAgain, UserError
from dopq.wire import Plain
from dopq_client.options import json_option
from dopq_client.session import Session

if TYPE_CHECKING:
    from dopq_client.client import DopqClient

SPEED_S, LOOK_S = 20.0, 0.5
"""How long a speed test may take, and how often it is looked whether it has ended."""


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def nodes(context: click.Context) -> None:
    """Show the nodes of the lab, the nearest first: GPUs, free ones, expected wait."""
    if context.invoked_subcommand is None:
        _show_all(context.obj)


@nodes.command("show")
@click.argument("node")
@json_option
@click.pass_obj
def show(session: Session, node: str) -> None:
    """Show all that is known of NODE: its name, or the beginning of its id."""
    from dopq_client.nodes_view import node_view

    told = _find(session.client().nodes(), node)
    session.answer({"node": told}, lambda _now: node_view(told))


@nodes.command("refresh")
@click.option("--hops", type=click.IntRange(1, 8), default=1, show_default=True, help="Ask nodes of nodes, so far.")
@json_option
@click.pass_obj
def refresh(session: Session, hops: int) -> None:
    """Ask all known nodes for news now, and show them."""
    walked = session.client().refresh_nodes(hops)
    session.note(f"Asked {walked['asked']}, of which {walked['answered']} have answered; {walked['nodes']} are known.")
    _show_all(session)


@nodes.command("speed")
@click.argument("node")
@json_option
@click.pass_obj
def speed(session: Session, node: str) -> None:
    """Measure how fast data goes to NODE and comes from it. Both admins have to trust the other's node."""
    from dopq_client.nodes_view import speed_in_words

    told = _measured(session.client(), node)
    session.answer({"node": told}, lambda _now: speed_in_words(told))


def _measured(client: DopqClient, node: str) -> Plain:
    """The node, once its speed has been measured anew."""
    begun = time.monotonic()
    node_id = client.measure_node_speed(node)["node_id"]
    while (elapsed_s := time.monotonic() - begun) < SPEED_S:
        time.sleep(LOOK_S)
        told = _find(client.nodes(), node_id)
        if told["speed_age_s"] is not None and told["speed_age_s"] <= elapsed_s + LOOK_S:
            return told
    raise TryAgain(f"The speed to {node!r} was not measured.", "Does the other node trust this one? The logs say more.")


@nodes.command("interfaces")
@json_option
@click.pass_obj
def interfaces(session: Session) -> None:
    """Show under which addresses the node tells others to reach it."""
    own = next((node for node in session.client().nodes() if node["is_self"]), None)
    addresses = own["addresses"] if own else []
    session.answer(
        {"addresses": addresses},
        lambda _now: "\n".join(map(clean, addresses)) or "None: the node listens on its own machine alone.",
    )


def _show_all(session: Session) -> None:
    from dopq_client.nodes_view import nodes_table

    known = session.client().nodes()
    session.answer({"nodes": known}, lambda _now: nodes_table(known))


def _find(known: list[Plain], reference: str) -> Plain:
    named = [node for node in known if node["name"] == reference]
    found = named or [node for node in known if len(reference) >= 4 and node["node_id"].startswith(reference)]
    if not found:
        raise NotFound(f"No node {reference!r} is known.", "See all: dopq-client nodes")
    if len(found) > 1:
        raise UserError(f"Several nodes are called {reference!r}.", "Give the beginning of the id.")
    return found[0]
