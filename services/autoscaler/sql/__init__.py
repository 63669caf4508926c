"""The autoscaler's statements, one per file, named verb-noun.

Those that write begin with the fence: `led` is a row only while the leader $1 still has the epoch
$2, and holds it until the commit, so a successor's first act waits for the last of its predecessor.
"""

from functools import cache
from importlib.resources import files


@cache
def statement(name: str) -> str:
    """The text of `<name>.sql`."""
    return files(__package__).joinpath(f"{name}.sql").read_text(encoding="utf-8")
