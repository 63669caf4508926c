"""The endpoints beside the answers: models listed, shown, copied, deleted, pulled; embed."""

from typing import Any

from aiohttp import web

from model_stub.catalogue import REGISTRY, ModelEntry, canonical, is_valid_name
from model_stub.engine import ENGINE, VERSION, json_reply
from model_stub.protocol import MISSING_BODY, ProtocolError, compact, read_object

NO_EMBEDDINGS = "This server does not support embeddings. Start it with `--embeddings`"


async def root(_: web.Request) -> web.Response:
    """GET /."""
    return web.Response(text="Ollama is running")


async def version(_: web.Request) -> web.Response:
    """GET /api/version."""
    return json_reply({"version": VERSION})


async def tags(request: web.Request) -> web.Response:
    """GET /api/tags."""
    models = request.app[ENGINE].catalogue.all()
    return json_reply({"models": [entry.tag() for entry in models]})


async def processes(request: web.Request) -> web.Response:
    """GET /api/ps: the models in memory."""
    engine = request.app[ENGINE]
    on_gpu = engine.settings.device == "gpu"
    return json_reply(
        {
            "models": [
                {
                    "name": runner.entry.name,
                    "model": runner.entry.name,
                    "size": runner.entry.size_bytes,
                    "digest": runner.entry.digest,
                    "details": runner.entry.details(),
                    "expires_at": engine.expires_text(runner.expires_at),
                    "size_vram": runner.entry.size_bytes if on_gpu else 0,
                    "context_length": runner.window_size,
                }
                for runner in engine.scheduler.loaded()
            ]
        }
    )


async def show(request: web.Request) -> web.Response:
    """POST /api/show."""
    name = _name(await _body(request), "model", "name")
    if not name:
        raise ProtocolError(400, "model is required")
    entry = request.app[ENGINE].catalogue.find(name)
    if entry is None:
        raise ProtocolError(404, f"model '{canonical(name)}' not found")
    return json_reply(entry.show())


async def copy(request: web.Request) -> web.Response:
    """POST /api/copy."""
    body = await _body(request)
    source, destination = _name(body, "source"), _name(body, "destination")
    if not is_valid_name(destination):
        raise ProtocolError(400, f'destination "{destination}" is invalid')
    entry = request.app[ENGINE].catalogue.find(source)
    if entry is None:
        raise ProtocolError(404, f'model "{source}" not found')
    request.app[ENGINE].catalogue.copy(entry, destination)
    return web.Response()


async def delete(request: web.Request) -> web.Response:
    """DELETE /api/delete."""
    name = _name(await _body(request), "model", "name")
    engine = request.app[ENGINE]
    entry = _found(engine.catalogue.find(name), f"model '{name}' not found")
    engine.scheduler.unload(entry)
    engine.catalogue.delete(entry)
    return web.Response()


async def pull(request: web.Request) -> web.StreamResponse:
    """POST /api/pull: nothing can be fetched, so only models that are there succeed."""
    body = await _body(request)
    name = _name(body, "model", "name")
    if not is_valid_name(name):
        raise ProtocolError(400, "invalid model name")
    stream = body.get("stream") is not False
    if request.app[ENGINE].catalogue.find(name) is not None:
        lines: list[dict[str, str]] = [{"status": "pulling manifest"}, {"status": "success"}]
        return _lines(lines) if stream else json_reply(lines[-1])
    model, _, tag = canonical(name).partition(":")
    address = f"https://{REGISTRY}/v2/library/{model}/manifests/{tag}"
    failed = {
        "error": f'pull model manifest: Get "{address}": '
        f"dial tcp: lookup {REGISTRY} on 127.0.0.1:53: no such host"
    }
    if stream:
        return _lines([{"status": "pulling manifest"}, failed])
    return json_reply(failed, status=500, content_type="application/json")


async def embed(request: web.Request) -> web.Response:
    """POST /api/embed: models that chat do not embed."""
    body = await _body(request)
    name = _name(body, "model")
    engine = request.app[ENGINE]
    entry = _found(engine.catalogue.find(name), f'model "{name}" not found, try pulling it first')
    given = body.get("input")
    if given in ("", [], None):
        return json_reply({"model": name, "embeddings": []})
    texts = given if isinstance(given, list) else [given]
    if not all(isinstance(text, str) for text in texts):
        raise ProtocolError(400, "invalid input type")
    longest_chars = max(len(text) for text in texts)
    if (
        body.get("truncate") is False
        and longest_chars > entry.context_length * engine.settings.chars_per_token
    ):
        raise ProtocolError(400, "the input length exceeds the context length")
    raise ProtocolError(501, NO_EMBEDDINGS)


async def embeddings(request: web.Request) -> web.Response:
    """POST /api/embeddings, the older form."""
    name = _name(await _body(request), "model")
    _found(request.app[ENGINE].catalogue.find(name), f"model '{name}' not found")
    raise ProtocolError(500, NO_EMBEDDINGS)


async def _body(request: web.Request) -> dict[str, Any]:
    data = await request.read()
    if not data:
        raise ProtocolError(400, MISSING_BODY)
    return read_object(data, "api.Request")


def _name(body: dict[str, Any], *fields: str) -> str:
    """The first of these fields that is set; older clients say `name` for `model`."""
    return next((str(body[field]) for field in fields if body.get(field)), "")


def _found(entry: ModelEntry | None, error: str) -> ModelEntry:
    if entry is None:
        raise ProtocolError(404, error)
    return entry


def _lines(values: list[dict[str, str]]) -> web.Response:
    body = "".join(compact(value) + "\n" for value in values).encode()
    return web.Response(body=body, headers={"Content-Type": "application/x-ndjson"})
