"""A stand-in for an Ollama server: it speaks the protocol faithfully and answers by rules.

It owns no weights and does not understand images: `rules.py` reads the text of the prompt. Tests,
the demo and CPU-only installations use it where a real server cannot be had, and every trace of it
says so: the version ends in `-rules-stub`, the model family is `rules-stub`, and the HTTP header is
`Server: rules-stub`.

Modules: `protocol` reads requests as Go would, `catalogue` knows the models, `scheduler` loads and
evicts them, `window` counts tokens and cuts prompts, `generation` paces the answer, `faults` breaks
it on demand, `ledger` remembers what was asked, `server` puts them behind HTTP.
"""

from model_stub.config import StubSettings
from model_stub.faults import Fault, FaultKind
from model_stub.ledger import RequestRecord
from model_stub.server import Stub, running_stub

__all__ = ["Fault", "FaultKind", "RequestRecord", "Stub", "StubSettings", "running_stub"]
