"""What one check of `reveille doctor` found."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """`detail` says what was seen and, unless all is well, what to do. `note`: worth knowing, and
    no reason to fail.
    """

    name: str
    ok: bool
    detail: str
    note: bool = False

    @property
    def verdict(self) -> str:
        """For people."""
        return "PROBLEM" if not self.ok else "note" if self.note else "ok"
