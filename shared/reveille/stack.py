"""The whole system on one machine, for `make demo`, `reveille up` and the system tests.

Postgres (embedded, or the one that DATABASE_URL names), the stand-in model server (or the one that
OLLAMA_HOST names), and the services as separate processes; the workers are left to the autoscaler,
which brings them up from zero.
"""

import asyncio
import json
import os
import socket
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from reveille.embedded import EmbeddedPostgres
from reveille.errors import ReveilleError
from reveille.migrate import migrate
from reveille.processes import Child, start_module

READY_SECONDS_MAX = 30.0
STOP_SECONDS_MAX = 15.0
DRAIN_SECONDS = 10  # less than that: who stops the system, or kills it, is not to wait for a model
PAUSE_SECONDS = 0.05

# One machine, a person watching: containers are processes that start in a second, so every delay of
# the requirements shrinks.
SCALING = """\
visual_container_scaling:
  min_replicas: 0
  max_replicas: 1
  scale_up_threshold: 0
  scale_up_delay: 0s
  scale_down_delay: 20s
  startup_timeout: 60s
text_container_scaling:
  min_replicas: 0
  max_replicas: 2
  scale_up_threshold: 3
  scale_up_delay: 0s
  scale_down_delay: 20s
  startup_timeout: 60s
"""


class StackError(ReveilleError):
    """A part of the system did not start; the message carries the end of its log."""


@dataclass(slots=True, kw_only=True)
class StackOptions:
    """What `reveille up` and `reveille demo` can choose."""

    data_dir: Path | None = None
    gateway_port: int = 0
    database_url: str | None = None
    ollama_host: str | None = None
    otlp_endpoint: str | None = None
    document_root: Path | None = None
    stub_service_seconds: float = 0.05
    scaling: str = SCALING
    environment: Mapping[str, str] = field(default_factory=dict)


class Stack:
    """`with Stack(options, report) as stack`: everything runs; at the end nothing does."""

    def __init__(
        self, options: StackOptions, report: Callable[[str], None] = lambda _: None
    ) -> None:
        self.options = options
        self._report = report
        self._closing = ExitStack()
        self.children: dict[str, Child] = {}
        self.dsn = ""
        self.gateway_url = ""
        self.ollama_host = ""
        self.run_dir = Path()
        self.postgres: EmbeddedPostgres | None = None

    def __enter__(self) -> "Stack":
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> None:
        started = time.monotonic()
        folder = tempfile.TemporaryDirectory(prefix="reveille-", ignore_cleanup_errors=True)
        self.run_dir = Path(self._closing.enter_context(folder))
        self.dsn = self._start_postgres()
        self._report("migrating the database")
        asyncio.run(migrate(self.dsn))
        self.ollama_host = self._start_model()
        port = self.options.gateway_port or free_port()
        self.gateway_url = f"http://127.0.0.1:{port}"
        self.start("heartbeat_monitor")
        self.start("queue_gateway", {"REVEILLE_HTTP_PORT": str(port)})
        self._write_scaling()
        self.start("autoscaler")
        self._wait_for("queue_gateway", f"{self.gateway_url}/readyz")
        self._report(f"ready after {time.monotonic() - started:.1f} s")

    def _start_postgres(self) -> str:
        if self.options.database_url:
            return self.options.database_url
        self._report("starting an embedded Postgres")
        self.postgres = EmbeddedPostgres(self.options.data_dir, durable=bool(self.options.data_dir))
        self._closing.enter_context(self.postgres)
        self._report(f"Postgres {self.postgres.version}")
        return self.postgres.dsn

    def _start_model(self) -> str:
        if self.options.ollama_host:
            self._report(f"model server: {self.options.ollama_host}")
            return self.options.ollama_host
        port = free_port()
        self._report(
            "model server: the stand-in that answers by rules (set OLLAMA_HOST for a real one)"
        )
        url = f"http://127.0.0.1:{port}"
        service_seconds = str(self.options.stub_service_seconds)
        self.start(
            "model_stub",
            {"REVEILLE_STUB_PORT": str(port), "REVEILLE_STUB_SERVICE_SECONDS": service_seconds},
        )
        self._wait_for("model_stub", url)
        return url

    def _write_scaling(self) -> None:
        (self.run_dir / "scaling.yaml").write_text(self.options.scaling)

    def environment(self) -> dict[str, str]:
        """What every service is started with."""
        values = {
            "DATABASE_URL": self.dsn,
            "OLLAMA_HOST": self.ollama_host,
            "REVEILLE_LOG_JSON": "true",
            "REVEILLE_RUN_DIR": str(self.run_dir),
            "REVEILLE_PROVIDER": "process",
            "REVEILLE_PROCESS_BOUND": "true",
            "REVEILLE_DRAIN_SECONDS": str(DRAIN_SECONDS),
            "REVEILLE_SCALING_FILE": str(self.run_dir / "scaling.yaml"),
        }
        if self.options.otlp_endpoint:
            values["REVEILLE_OTLP_ENDPOINT"] = self.options.otlp_endpoint
        if self.options.document_root:
            values["REVEILLE_DOCUMENT_ROOT"] = str(self.options.document_root)
        return {**values, **self.options.environment}

    def start(self, module: str, extra: Mapping[str, str] | None = None) -> Child:
        """Start one more process of the system."""
        child = start_module(
            module,
            environment={**self.environment(), **(extra or {})},
            log_path=self.run_dir / f"{module}.log",
        )
        self.children[module] = child
        return child

    def _wait_for(self, name: str, url: str) -> None:
        deadline = time.monotonic() + READY_SECONDS_MAX
        child = self.children[name]
        while time.monotonic() < deadline and child.alive:
            with suppress(OSError), urllib.request.urlopen(url, timeout=2):  # noqa: S310 - loopback
                return
            time.sleep(PAUSE_SECONDS)
        raise StackError(f"{name} did not start:\n{child.log_tail()}")

    def failed(self) -> list[Child]:
        """Processes that ended by themselves."""
        return [child for child in self.children.values() if not child.alive]

    def close(self) -> None:
        """Stop everything: the autoscaler first, since it would start workers anew; Postgres last."""
        order = ["autoscaler", "queue_gateway", "heartbeat_monitor"]
        names = [n for n in order if n in self.children]
        names += [n for n in self.children if n not in names]
        for name in names:
            self.children[name].ask_to_stop()
        for name in names:
            self.children[name].stop(wait_seconds=STOP_SECONDS_MAX)
        self.children.clear()
        self._closing.close()


def free_port() -> int:
    """A TCP port that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


STATE_FILE = Path(".reveille") / "up.json"


def remember(stack: Stack) -> None:
    """Let other `reveille` commands in this folder find the system that `reveille up` runs."""
    STATE_FILE.parent.mkdir(exist_ok=True)
    state = {
        "database_url": stack.dsn,
        "gateway_url": stack.gateway_url,
        "ollama_host": stack.ollama_host,
        "run_dir": str(stack.run_dir),
        "pid": os.getpid(),
    }
    STATE_FILE.write_text(json.dumps(state))
    STATE_FILE.chmod(0o600)


def remembered() -> dict[str, str] | None:
    """What `remember` left, if that process still runs."""
    with suppress(OSError, ValueError, KeyError):
        state: dict[str, str] = json.loads(STATE_FILE.read_text())
        os.kill(int(state["pid"]), 0)
        return state
    return None
