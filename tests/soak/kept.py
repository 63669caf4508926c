"""A soak as a file."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter
from tests.soak.sample import Sample, Waits
from tests.soak.stage import Setting


@dataclass(slots=True, kw_only=True)
class Kept:
    """`ends`: tasks by status. `requeued`: how long retries, dependents and scheduled tasks waited,
    without the reader and beside it. `wrong`: lost, doubled, services that ended, in words.
    """

    setting: Setting
    samples: list[Sample]
    ends: dict[str, int]
    requeued: dict[str, Waits | None]
    wrong: list[str]

    @property
    def before(self) -> list[Sample]:
        """Without the reader, from the moment at which all is warm."""
        half = self.setting.reader_from_seconds / 2
        return [s for s in self.samples if not s.reader and half <= s.at_seconds <= 2 * half]

    @property
    def beside(self) -> list[Sample]:
        """While the reader reads."""
        return [s for s in self.samples if s.reader]

    @property
    def after(self) -> list[Sample]:
        """When it has gone."""
        return [s for s in self.samples if s.at_seconds > self.setting.reader_until_seconds + 5]


KEPT = TypeAdapter(Kept)


def write(kept: Kept, path: Path) -> None:
    """Whole, so that an unfinished run can be looked at."""
    path.write_bytes(KEPT.dump_json(kept))


def read(path: Path) -> Kept:
    """What `write` wrote."""
    return KEPT.validate_json(path.read_bytes())
