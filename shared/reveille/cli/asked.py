"""What a command was asked for, read or refused in a plain sentence: exit code 2, as for any wrong
use.
"""

from typing import Annotated

import typer

from reveille.cli.session import rows_of
from reveille.task import TaskStatus

_ID_MAX = 2**63 - 1  # bigint


def _task_id(text: str | int) -> int:
    try:
        found = int(text)
    except ValueError:
        found = None
    if found is None or abs(found) > _ID_MAX:
        raise typer.BadParameter(
            f"{str(text)!r} is not the number of a task; `reveille tasks` lists them"
        )
    return found


def _status(text: str) -> str:
    if text not in tuple(TaskStatus):
        raise typer.BadParameter(f"no status {text!r}; there are: {', '.join(TaskStatus)}")
    return text


TaskId = Annotated[int, typer.Argument(metavar="ID", parser=_task_id)]
TaskIds = Annotated[list[int], typer.Argument(metavar="ID", parser=_task_id)]
Status = Annotated[
    str | None, typer.Option(metavar="STATUS", parser=_status, help=f"{', '.join(TaskStatus)}.")
]


def check_known(option: str, value: str | None, thing: str, sql: str) -> None:
    """Refuse a `value` that is none of those that the rows of `sql` name. Raises BadParameter."""
    if value is None:
        return
    known = [row["name"] for row in rows_of(sql)]
    if value not in known:
        raise typer.BadParameter(
            f"no {thing} {value!r}; there are: {', '.join(known) or 'none'}", param_hint=option
        )
