"""The checks of `reveille doctor` around the database: model server, providers, documents, traces."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any

from reveille import stack
from reveille.cli.finding import Finding
from reveille.logs import mask_text
from reveille.settings import WorkerSettings
from reveille.span_export import TRACES_PATH

ANSWER_SECONDS_MAX = 3.0
PROVIDERS_SECONDS_MAX = 60.0
_MODELS = {"REVEILLE_VISION_MODEL": "vision_model", "REVEILLE_TEXT_MODEL": "text_model"}


def examine(dsn: str | None) -> list[Finding]:
    """What can be checked from this machine, with the environment that services would have."""
    findings = [_model_server()]
    if dsn is not None:
        findings += _providers(dsn)
    return findings + _documents() + _collector()


def _model_server() -> Finding:
    known = stack.remembered() or {}
    host = os.environ.get("OLLAMA_HOST") or known.get("ollama_host") or "http://127.0.0.1:11434"
    host = host if "://" in host else f"http://{host}"
    try:
        with urllib.request.urlopen(f"{host}/api/tags", timeout=ANSWER_SECONDS_MAX) as answer:  # noqa: S310
            names = [model["name"] for model in json.load(answer)["models"]]
    except (ValueError, KeyError, TypeError, HTTPException) as error:
        said = f"what answers at {host} is no Ollama ({type(error).__name__}); set OLLAMA_HOST"
        return Finding("model server", False, said)
    except OSError as error:
        said = f"{host}: {_words(error)}; start Ollama there, or set OLLAMA_HOST"
        return Finding("model server", False, said)
    absent = [name for name in _wanted_models() if not _is_there(name, names)]
    if absent:
        pull = "; ".join(f"ollama pull {name}" for name in absent)
        said = f"{host} has no {' and no '.join(absent)}: {pull}, or name another in {', '.join(_MODELS)}"
        return Finding("model server", False, said)
    return Finding("model server", True, f"{host}: {', '.join(names[:6])}")


def _words(error: Exception) -> str:
    """Of a request that failed, without the library's wrapping."""
    reason = getattr(error, "reason", error)
    return str(getattr(reason, "strerror", None) or reason)


def _wanted_models() -> list[str]:
    fields = WorkerSettings.model_fields
    return [os.environ.get(name) or fields[field].default for name, field in _MODELS.items()]


def _is_there(wanted: str, names: list[str]) -> bool:
    """Ollama's rule: a name without a tag means `latest`."""
    return (wanted if ":" in wanted else f"{wanted}:latest") in names or wanted in names


def _providers(dsn: str) -> list[Finding]:
    """The autoscaler's own word, from a process of its own: this package may not import it."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "autoscaler.check"],
            env={**_of_the_system_here(), **os.environ, "DATABASE_URL": dsn},
            capture_output=True,
            text=True,
            timeout=PROVIDERS_SECONDS_MAX,
            check=False,
        )
        if done.returncode:
            return [Finding("provider", False, mask_text(done.stderr.strip()[-500:]))]
        answers: list[Mapping[str, Any]] = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return [Finding("provider", False, mask_text(str(error)))]
    return [Finding(f"provider {a['provider']}", a["ok"], a["detail"]) for a in answers]


def _of_the_system_here() -> dict[str, str]:
    """What `reveille up` in this folder told its autoscaler."""
    folder = (stack.remembered() or {}).get("run_dir")
    if not folder:
        return {}
    scaling = str(Path(folder) / "scaling.yaml")
    return {"REVEILLE_RUN_DIR": folder, "REVEILLE_SCALING_FILE": scaling}


def _documents() -> list[Finding]:
    root = os.environ.get("REVEILLE_DOCUMENT_ROOT")
    if not root:
        return []
    if Path(root).is_dir() and os.access(root, os.R_OK | os.X_OK):
        return [Finding("documents", True, f"{root} can be read")]
    said = f"REVEILLE_DOCUMENT_ROOT: {root} is no folder that this user can read"
    return [Finding("documents", False, said)]


def _collector() -> list[Finding]:
    """An empty request is valid OTLP."""
    base = os.environ.get("REVEILLE_OTLP_ENDPOINT")
    if not base:
        return []
    url = base.rstrip("/").removesuffix(TRACES_PATH) + TRACES_PATH
    request = urllib.request.Request(  # noqa: S310
        url, data=b"", headers={"Content-Type": "application/x-protobuf"}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS_MAX):  # noqa: S310
            return [Finding("traces", True, f"{base} takes spans")]
    except (OSError, ValueError, HTTPException) as error:
        said = f"{base}: {_words(error)}; spans are dropped until a collector answers there (OTLP over HTTP)"
        return [Finding("traces", False, said)]
