"""`henge token` and `henge user`: API tokens and accounts of a running appliance."""

from __future__ import annotations

from pathlib import Path

import click

from appliance.commands.options import data_option
from appliance.config import load
from appliance.errors import CannotStart
from appliance.lock import running_pid
from appliance.state import DeleteDocument, StateClient, state_path
from web.auth import second_factor, tokens, users
from web.auth.roles import Role


def _state(data: Path | None) -> StateClient:
    """Raises: CannotStart, when no appliance runs there: tokens are made by its state process."""
    config = load(data_dir=data)
    if running_pid(config.data_dir) is None:
        raise CannotStart(f"no appliance runs on {config.data_dir}; start it with `henge up`, or give --data DIR")
    return StateClient(config.run_dir, state_path(config.data_dir), origin=lambda: "command line")


@click.group()
def token() -> None:
    """API tokens: make, list and revoke them."""


@token.command()
@click.option("--name", required=True, help="What uses the token.")
@click.option("--role", required=True, type=click.Choice([role.value for role in Role]), help="What it may do.")
@click.option("--team", help="Limit it to one team's checks.")
@data_option
def create(name: str, role: str, team: str | None, data: Path | None) -> None:
    """Make a token and print it, alone on the last line. It is shown this once."""
    state = _state(data)
    try:
        _, secret = tokens.create(state, tokens.NewToken(name=name, role=Role(role), team=team), actor="cli")
    finally:
        state.close()
    click.echo(secret)


@token.command(name="list")
@data_option
def list_tokens(data: Path | None) -> None:
    """Show the tokens that are valid, without their secrets."""
    state = _state(data)
    try:
        for document in state.read.list("token"):
            shown = tokens.view(document)
            click.echo(
                f"{shown['id']}  {shown['role']:<7} {shown['team'] or '-':<12} {shown['begins_with']}…  {shown['name']}"
            )
    finally:
        state.close()


@token.command()
@click.argument("token_id")
@data_option
def revoke(token_id: str, data: Path | None) -> None:
    """Revoke the token with this id (see `henge token list`). What uses it is refused within a second."""
    state = _state(data)
    try:
        tokens.delete(state, token_id, actor="cli")
    finally:
        state.close()
    click.echo(f"revoked {token_id}")


@click.group()
def user() -> None:
    """Accounts of people."""


@user.command()
@click.argument("name")
@data_option
def reset_second_factor(name: str, data: Path | None) -> None:
    """Take the second factor of NAME away: they have lost phone and recovery codes. The password alone logs in then."""
    state = _state(data)
    try:
        found = state.read.by_unique("user", users.unique_name(name))
        if found is None:
            raise CannotStart(f"there is no user {name!r}; the account page lists them")
        if state.read.get(second_factor.KIND, found.id) is None:
            raise CannotStart(f"{found.body['name']!r} has no second factor")
        state.apply([DeleteDocument(kind=second_factor.KIND, id=found.id)], actor="cli")
    finally:
        state.close()
    click.echo(f"took the second factor of {found.body['name']} away")
