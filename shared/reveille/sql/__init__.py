"""The statements of the workers and services, one per file, named verb-noun. `statement("claim")`
loads one, once.
"""

import re
from functools import cache
from importlib.resources import files

_FINAL = re.compile(r"^\)\nUPDATE ", re.MULTILINE)
_GOES_ON = re.compile(r"^\)\n-- .*: see (\w+)\.sql\.\n\Z", re.MULTILINE)


@cache
def statement(name: str) -> str:
    """The text of `<name>.sql`. One that ends with `: see <other>.sql.` goes on with the other's
    final UPDATE.
    """
    text = files(__package__).joinpath(f"{name}.sql").read_text(encoding="utf-8")
    other = _GOES_ON.search(text)
    if other is None:
        return text
    _, update = _FINAL.split(statement(other[1]), maxsplit=1)
    return f"{text[: other.start()]})\nUPDATE {update}"


@cache
def alone(claim: str) -> str:
    """`claim` for a turn that ends nothing: its commit need not reach the disk before the work
    begins. A crash of the database may undo it: then the task is queued again, the token is void
    (ADR 0022). An InitPlan, so that it is set once.
    """
    hurry = "WHERE (SELECT set_config('synchronous_commit', 'off', true)) IS NOT NULL AND"
    return _without_comments(statement(claim)).replace("WHERE", hurry, 1)


@cache
def together(claim: str, settle: str) -> str:
    """`claim` and `settle` as one statement: one round trip, one transaction, the claim's
    parameters first.

    Both files are `WITH … ) UPDATE … RETURNING …`; PostgreSQL takes data-modifying parts only at
    the top level, so their parts are laid side by side and the two UPDATEs become parts too. The
    claim looks at `ends` first: a turn that waits for a row it ends must not hold one it claims.
    """
    claim_parts, claim_update = _split(statement(claim))
    arguments = max(int(n) for n in re.findall(r"\$(\d+)", statement(claim)))
    shifted = re.sub(r"\$(\d+)", lambda m: f"${int(m[1]) + arguments}", statement(settle))
    settle_parts, settle_update = _split(shifted)
    claim_parts = claim_parts.replace("WHERE", "WHERE (SELECT count(*) FROM ends) >= 0 AND", 1)
    return (
        f"WITH {settle_parts}), {claim_parts}), "
        f"claimed AS (UPDATE {claim_update}), settled AS (UPDATE {settle_update})\n"
        "SELECT s.task_id AS settled_id, s.status AS settled_status, c.* "
        "FROM settled s FULL JOIN claimed c ON s.task_id = -c.task_id"  # never equal: one list behind the other
    )


def _split(text: str) -> tuple[str, str]:
    parts, update = _FINAL.split(_without_comments(text), maxsplit=1)
    return parts.strip().removeprefix("WITH "), update.strip()


def _without_comments(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith("--"))
