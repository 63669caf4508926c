"""Passwords and tokens appear nowhere: not in printed settings, error texts, tracebacks or spans."""

import asyncio
import importlib
import json
import re
import traceback
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from reveille.database import connect, connect_pool
from reveille.dsn import check_dsn
from reveille.errors import ConfigurationError
from reveille.lifecycle import main
from reveille.logs import mask_text
from reveille.settings import DocumentSettings, Settings
from reveille.tokens import parse_tokens

SERVICES = {
    "queue_gateway": "GatewaySettings",
    "autoscaler": "AutoscalerSettings",
    "heartbeat_monitor": "MonitorSettings",
    "visual_worker": "VisualWorkerSettings",
    "text_worker": "TextWorkerSettings",
    "combined_worker": "CombinedWorkerSettings",
}
# What a password may hold, with marks around it that occur nowhere else.
PASSWORDS = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="'\""), max_size=20
).map(lambda text: f"zq7w{text}w7qz")
MARKS = re.compile("zq7w|w7qz")


def settings_of(service: str) -> type[Settings]:
    kind = getattr(importlib.import_module(f"{service}.config"), SERVICES[service])
    assert issubclass(kind, Settings)
    return kind


@pytest.mark.parametrize("service", SERVICES)
def test_print_settings_shows_no_secret(
    service: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every setting that can hold a credential does, and the printed text has none of them."""
    secret = "zq7w-correct-horse-w7qz"
    url = f"https://someone:{secret}@host.example/path"
    environment = {
        "DATABASE_URL": f"postgresql://u:{secret}@h/d?password={secret}",
        "REVEILLE_API_TOKENS": f"{secret}=read",
        "OLLAMA_HOST": url,
    }
    for name, field in settings_of(service).model_fields.items():
        if "url" in name or "endpoint" in name:
            environment.setdefault(f"REVEILLE_{name.upper()}", url)
        if field.annotation is SecretStr:
            environment.setdefault(f"REVEILLE_{name.upper()}", f"{secret}=read")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.argv", [service, "--print-settings"])

    main(service, settings_of(service), lambda *_: pytest.fail("started"))

    printed = capsys.readouterr().out
    assert "database_url" in printed
    assert "host.example" in printed
    assert not MARKS.search(printed)


READS_DOCUMENTS = [name for name in SERVICES if name.endswith("worker") or "gateway" in name]


@pytest.mark.parametrize("service", READS_DOCUMENTS)
def test_print_settings_shows_those_of_documents_too(
    service: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever wonders which folder or which limit holds asks the service that reads them."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://h/d")
    monkeypatch.setenv("REVEILLE_DOCUMENT_ROOT", "/decks")
    monkeypatch.setenv("REVEILLE_RENDER_SECONDS_MAX", "7")
    monkeypatch.setattr("sys.argv", [service, "--print-settings"])
    main(service, settings_of(service), lambda *_: pytest.fail("started"))
    printed = json.loads(capsys.readouterr().out)
    assert set(DocumentSettings.model_fields) <= set(printed)
    assert (printed["document_root"], printed["render_seconds_max"]) == ("/decks", 7)

    monkeypatch.setenv("REVEILLE_RENDER_SECONDS_MAX", "soon")
    with pytest.raises(SystemExit) as ended:
        main(service, settings_of(service), lambda *_: pytest.fail("started"))
    assert ended.value.code == 78
    assert "REVEILLE_RENDER_SECONDS_MAX" in capsys.readouterr().err


@pytest.mark.parametrize("service", SERVICES)
def test_setting_that_names_a_secret_is_one(service: str) -> None:
    """A new credential among the settings must be a SecretStr."""
    telling = re.compile(r"(password|secret|credential|api_key|api_tokens?|client_id)$")
    for name, field in settings_of(service).model_fields.items():
        if telling.search(name):
            assert "SecretStr" in str(field.annotation), name


@pytest.mark.parametrize("pooled", [False, True])
@settings(max_examples=40)
@given(
    password=PASSWORDS,
    shape=st.sampled_from(
        (
            "postgresql://u:{}@127.0.0.1:1/d",
            "postgres://{}:x@127.0.0.1:1/d",
            "u:{}@127.0.0.1/d",
            "postgresql://u:{}@[::1/d",
            "postgresql://u:{}@127.0.0.1:port/d",
            "postgresql://127.0.0.1:1/d?sslmode={}",
            "postgresql://127.0.0.1:1/d?sslmode=require&sslrootcert={}",
            "host=127.0.0.1 password={}",
        )
    ),
)
def test_dsn_that_cannot_be_read_is_not_quoted(pooled: bool, password: str, shape: str) -> None:
    """Whatever is in a password, and however it spoils the URL: no error and no traceback shows it."""
    opening = connect_pool if pooled else connect
    with pytest.raises((ConfigurationError, OSError)) as raised:
        asyncio.run(opening(shape.format(password), application_name="test"))

    assert not MARKS.search("".join(traceback.format_exception(raised.value)))


def test_dsn_that_cannot_be_read_is_answered_with_one_that_can() -> None:
    """The example reaches the reader whole: what looks like a password would be hidden from them."""
    with pytest.raises(ConfigurationError) as raised:
        check_dsn("nonsense")
    said = mask_text(str(raised.value))
    assert "***" not in said
    example = re.search(r"postgresql://\S+[^\s,;]", said)
    assert example
    check_dsn(example.group())
    assert "%40 for @" in said


@given(entries=st.lists(PASSWORDS, min_size=1, max_size=4), joint=st.sampled_from((",", "=", "+")))
def test_refused_token_list_is_not_quoted(entries: list[str], joint: str) -> None:
    """A slip in REVEILLE_API_TOKENS names the entry's number."""
    with pytest.raises(ConfigurationError) as raised:
        parse_tokens(joint.join([*entries, "no-scope"]))

    assert not MARKS.search("".join(traceback.format_exception(raised.value)))


@given(
    secret=st.text(st.sampled_from("abcdefXYZ0123456789._~+/-"), min_size=8, max_size=40).map(
        lambda text: f"zq7w{text}w7qz"
    ),
    before=st.text(max_size=20),
    after=st.text(max_size=20),
    shape=st.sampled_from(
        (
            "postgresql://u:{}@h/d",
            "Authorization: Bearer {}",
            "authorization='Basic {}'",
            "Bearer {}",
            "password={}",
            '{{"api_key": "{}"}}',
            "client_secret={}",
            "refresh_token={}",
            "https://h/x?access_token={}&a=1",
            "https://h/deck.pdf?X-Amz-Signature={}",
            "AWS_SECRET_ACCESS_KEY={}",
        )
    ),
)
def test_credentials_are_masked_wherever_they_stand(
    secret: str, before: str, after: str, shape: str
) -> None:
    """In an error of a library, say, with anything around it."""
    assert not MARKS.search(mask_text(f"{before} {shape.format(secret)} {after}"))


def test_failed_span_says_no_password() -> None:
    """What an exception says becomes the span's description."""
    from opentelemetry.sdk.trace import TracerProvider

    from reveille.tracing import AttemptTrace

    span: Any = TracerProvider().get_tracer("test").start_span("process")
    AttemptTrace(span).failed("OSError", "cannot reach postgresql://u:zq7wsecret@h/d")

    assert span.status.description == "cannot reach postgresql://u:***@h/d"
