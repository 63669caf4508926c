"""The models that the stand-in claims to have, and what the listing endpoints say of them."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

FAMILY = "rules-stub"
# The name under which a server knows its registry; the recording has it masked like this.
REGISTRY = "MODEL-REGISTRY"
MODIFIED_AT = "2026-01-01T00:00:00Z"

_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_NAME = re.compile(rf"(?:{_PART}(?::\d+)?/)?(?:{_PART}/)?{_PART}(?::{_PART})?")


def is_valid_name(name: str) -> bool:
    """Whether Ollama would take this as [host/][namespace/]model[:tag]."""
    return _NAME.fullmatch(name) is not None


def canonical(name: str) -> str:
    """The name with its tag: no tag means `latest`."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One model. `context_length` is the number of tokens it was trained for."""

    name: str
    vision: bool
    context_length: int
    size_bytes: int = 3_000_000

    @property
    def digest(self) -> str:
        """Stable, and of the name only: there are no weights to hash."""
        return hashlib.sha256(f"{FAMILY}:{self.name}".encode()).hexdigest()

    @property
    def capabilities(self) -> list[str]:
        """What the model can do, in Ollama's words."""
        return ["completion", "vision"] if self.vision else ["completion"]

    def details(self) -> dict[str, Any]:
        """The `details` object of ps and show."""
        return {
            "parent_model": "",
            "format": "rules",
            "family": FAMILY,
            "families": [FAMILY],
            "parameter_size": "0",
            "quantization_level": "none",
        }

    def tag(self) -> dict[str, Any]:
        """The model's element of /api/tags."""
        lengths = {"context_length": self.context_length, "embedding_length": 0}
        return {
            "name": self.name,
            "model": self.name,
            "modified_at": MODIFIED_AT,
            "size": self.size_bytes,
            "digest": self.digest,
            "details": {**self.details(), **lengths},
            "capabilities": self.capabilities,
        }

    def show(self) -> dict[str, Any]:
        """The body of /api/show."""
        template = "{{ .System }}\nUSER: {{ .Prompt }}\nASSISTANT: {{ .Response }}"
        return {
            "modelfile": f"# {FAMILY}: answers by rules, has no weights\nFROM {self.name}\n",
            "parameters": "temperature                    0",
            "template": template,
            "details": self.details(),
            "model_info": {
                "general.architecture": FAMILY,
                "general.description": "answers by rules, has no weights",
                "general.parameter_count": 0,
                f"{FAMILY}.context_length": self.context_length,
            },
            "capabilities": self.capabilities,
            "modified_at": MODIFIED_AT,
        }


class Catalogue:
    """The models by canonical name; copies and deletions change it, as on a real server."""

    def __init__(self, entries: Iterable[ModelEntry]) -> None:
        self._entries = {entry.name: entry for entry in entries}

    @classmethod
    def parse(cls, models: str, *, context_length: int) -> "Catalogue":
        """From `gemma3, llava+vision`. Raises ValueError for a malformed name."""
        entries = []
        for item in filter(None, (part.strip() for part in models.split(","))):
            name, _, trait = item.partition("+")
            if not is_valid_name(name) or trait not in {"", "vision"}:
                raise ValueError(f"model {item!r}: write NAME[:TAG] or NAME[:TAG]+vision")
            entries.append(ModelEntry(canonical(name), trait == "vision", context_length))
        return cls(entries)

    def find(self, name: str) -> ModelEntry | None:
        """The model of that name, with or without its tag."""
        return self._entries.get(canonical(name)) if is_valid_name(name) else None

    def all(self) -> list[ModelEntry]:
        """Every model, in the order given."""
        return list(self._entries.values())

    def copy(self, source: ModelEntry, destination: str) -> None:
        """Give a model a second name."""
        self._entries[canonical(destination)] = replace(source, name=canonical(destination))

    def delete(self, entry: ModelEntry) -> None:
        """Forget a model."""
        self._entries.pop(entry.name, None)
