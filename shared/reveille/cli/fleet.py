"""Commands for what runs: containers and pools, and what an operator wishes of them."""

from typing import Annotated, Any

import typer

from reveille import routing, wishes
from reveille.cli.session import console, rows_of, show, with_database
from reveille.database import Connection
from reveille.errors import ReveilleError
from reveille.wishes import REASON_MAX, VERBS, Verb

Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
Reason = Annotated[str | None, typer.Option(help="Why; it is kept with the container.")]

COLUMNS = ("name", "state", "wish", "since", "server_id", "provider", "cost_usd", "reason")

_HELP: dict[Verb, str] = {
    "start": "Start containers that have ended, or withdraw what was wished of living ones.",
    "drain": "Let containers finish their tasks, then stop.",
    "stop": "Stop containers now; tasks that they cannot finish go back to the queue.",
    "pin": "Keep containers, however idle they are.",
    "unpin": "Let the policy decide about pinned containers again.",
}

_POOLS = """
SELECT p.name, p.paused, p.replicas_min, p.replicas_max, p.policy,
    coalesce(sum(d.queued), 0)::int AS queued, coalesce(sum(d.processing), 0)::int AS processing,
    (SELECT count(*)::int FROM containers c
     WHERE c.pool = p.name AND c.state NOT IN ('stopped', 'failed')) AS containers,
    l.replicas_wanted AS wanted, l.reason, l.decided_at
FROM pools p LEFT JOIN queue_depth d ON d.pool = p.name
LEFT JOIN LATERAL (
    SELECT s.replicas_wanted, s.reason, s.decided_at FROM scaling_decisions s
    WHERE s.pool = p.name AND s.applied ORDER BY s.id DESC LIMIT 1
) l ON true
GROUP BY p.name, l.replicas_wanted, l.reason, l.decided_at ORDER BY p.name DESC"""

_CHANGE_POOL = """
UPDATE pools SET paused = coalesce($2, paused),
    replicas_min = coalesce($3, CASE WHEN NOT $6 THEN replicas_min END),
    replicas_max = coalesce($4, CASE WHEN NOT $6 THEN replicas_max END),
    policy = coalesce($5, CASE WHEN NOT $6 THEN policy END), updated_at = reveille_now()
WHERE name = $1 RETURNING name"""

containers_app = typer.Typer(
    help="Show containers, or wish something of some.", invoke_without_command=True
)


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    for verb in VERBS:
        containers_app.command(name=verb, help=_HELP[verb])(_wish_of(verb))
    containers_app.command(name="show")(show_container)
    app.add_typer(containers_app, name="containers")
    app.command()(pools)


@containers_app.callback()
def containers(
    context: typer.Context,
    every: Annotated[bool, typer.Option("--all", help="Those that have ended, too.")] = False,
    as_json: Json = False,
) -> None:
    """Show containers: state, reason, cost."""
    if context.invoked_subcommand is None:
        _show([row for row in with_database(wishes.look) if every or _lives(row)], as_json)


def show_container(name: str, as_json: Json = False) -> None:
    """One container, and the states it has gone through with the reason for each."""
    row, transitions = with_database(lambda connection: wishes.show(connection, name))
    if as_json:
        show([{**row, "transitions": transitions}], as_json=True, title="container")
        return
    known = [{"field": k, "value": v} for k, v in row.items() if v not in (None, "")]
    show(known, as_json=False, title=f"container {name}")
    console.print()
    show(transitions, as_json=False, title="states", columns=["at", "state", "reason"])


def _wish_of(verb: Verb) -> Any:
    def command(
        names: Annotated[list[str], typer.Argument(help="As `reveille containers` shows them.")],
        reason: Reason = None,
        as_json: Json = False,
    ) -> None:
        if reason and len(reason) > REASON_MAX:
            raise ReveilleError(f"--reason may have {REASON_MAX} characters")
        done, refused = with_database(lambda c: _express(c, names, verb, reason))
        _show(done, as_json)
        for sentence in refused:
            typer.echo(sentence, err=True)
        if refused:
            raise typer.Exit(1)

    return command


async def _express(
    connection: Connection, names: list[str], verb: Verb, reason: str | None
) -> tuple[list[wishes.Row], list[str]]:
    """The containers as they are then, and a sentence for each that could not be had."""
    done, refused = [], []
    for name in dict.fromkeys(names):
        try:
            done.append(await wishes.express(connection, name, verb, reason))
        except (wishes.NoSuchContainer, wishes.WishDenied) as error:
            refused.append(str(error))
    return done, refused


def _lives(row: wishes.Row) -> bool:
    return row["state"] not in wishes.ENDED


def _show(rows: list[wishes.Row], as_json: bool) -> None:
    shown = [
        row
        if as_json
        else {
            **row,
            "since": row["state_changed_at"],
            "wish": "pinned" if row["wish"] == wishes.PINNED else row["wish"],
            "reason": row["stuck_reason"] or row["last_error"] or row["reason"],
        }
        for row in rows
    ]
    show(shown, as_json=as_json, title="containers", empty="none", columns=COLUMNS, one_line=True)


def pools(
    name: Annotated[str | None, typer.Argument(help="With a name, change that pool.")] = None,
    pause: Annotated[bool | None, typer.Option("--pause/--resume")] = None,
    replicas_min: Annotated[int | None, typer.Option("--min", min=0)] = None,
    replicas_max: Annotated[int | None, typer.Option("--max", min=0)] = None,
    policy: Annotated[str | None, typer.Option()] = None,
    reset: Annotated[
        bool, typer.Option("--reset", help="Minimum, maximum and policy from the scaling file.")
    ] = False,
    combine: Annotated[
        bool | None,
        typer.Option("--combine/--split", help="One pool for all task types, or one each."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show pools and why they are as they are, or set what the autoscaler may do with one."""
    if policy is not None and policy not in wishes.POLICY_NAMES:
        raise ReveilleError(f'no policy "{policy}"; there are: {", ".join(wishes.POLICY_NAMES)}')
    given = (pause, replicas_min, replicas_max, policy)
    if name is None and (reset or any(value is not None for value in given)):
        raise ReveilleError("which pool? `reveille pools NAME …`")
    if combine is not None:
        with_database(routing.combine if combine else routing.split)
    if name is not None:
        _change_pool(name, *given, reset)
    rows = rows_of(_POOLS)
    columns = [column for column in (rows[0] if rows else {}) if column != "decided_at"]
    show(rows, as_json=as_json, title="pools", columns=columns)


def _change_pool(name: str, *values: object) -> None:
    if not rows_of(_CHANGE_POOL, name, *values):
        known = ", ".join(row["name"] for row in rows_of("SELECT name FROM pools ORDER BY name"))
        raise ReveilleError(f'no pool "{name}"; there are: {known}')
