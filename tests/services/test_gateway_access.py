"""Who is let in: tokens, scopes, foreign pages, too many requests."""

import pytest

from queue_gateway.access import RateLimit
from queue_gateway.routes import ROUTES
from queue_gateway.testing import running_gateway
from reveille.errors import ConfigurationError
from reveille.testing import Database
from reveille.tokens import parse_tokens

TOKENS = "reader=read,backend=read+submit,box==work,boss=read+operate"
TASK = {"document_id": 1, "task_type": "visual_analysis"}


async def test_every_route_but_health_asks_for_a_token_with_its_scope(database: Database) -> None:
    """No route is left open by mistake, and each token opens only what its scopes say."""
    async with running_gateway(database.dsn, api_tokens=TOKENS) as gateway:
        for route in ROUTES:
            url = gateway.url + route.path.replace("{id}", "1").replace("{name}", "visual")
            async with gateway.session.request(route.method, url) as answer:
                expected = 200 if route.path == "/api/health" else 401
                assert answer.status == expected, route.path
                if expected == 401:
                    assert answer.headers["WWW-Authenticate"] == "Bearer"
                    assert answer.content_type == "application/problem+json"

        submit = await gateway.ask(
            "POST", "/api/tasks", 403, json=TASK, headers={"Authorization": "Bearer reader"}
        )
        as_backend = {"Authorization": "bearer backend"}
        task = await gateway.ask("POST", "/api/tasks", 201, json=TASK, headers=as_backend)
        await gateway.ask("POST", f"/api/tasks/{task['id']}/cancel", 403, headers=as_backend)
        await gateway.ask("GET", "/api/tasks", 401, headers={"Authorization": "Bearer readerr"})
        await gateway.ask("GET", "/api/tasks", 403, headers={"Authorization": "Bearer box="})
        gateway.bearer = "boss"
        await gateway.post(f"/api/tasks/{task['id']}/cancel")

    assert submit["scope"] == "submit"


async def test_cookie_of_the_board_reads_and_changes_nothing(database: Database) -> None:
    """A browser logs in once; its cookie shows pages and streams, and cannot be used to write."""
    async with running_gateway(database.dsn, api_tokens=TOKENS) as gateway:
        session, url = gateway.session, gateway.url
        async with session.get(f"{url}/", allow_redirects=False) as stranger:
            assert (stranger.status, stranger.headers["Location"]) == (303, "/login")
        async with session.post(f"{url}/login", data={"token": "box="}) as refused:
            assert refused.status == 401
        async with session.post(
            f"{url}/login", data={"token": "boss"}, allow_redirects=False
        ) as let_in:
            cookie = let_in.headers["Set-Cookie"]
        headers = {"Cookie": cookie.partition(";")[0]}
        async with session.get(f"{url}/", headers=headers) as board:
            assert board.status == 200
        await gateway.get("/api/tasks", headers=headers)
        await gateway.post("/api/tasks", TASK, 401, headers=headers)

    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie


async def test_page_of_another_site_can_change_nothing(database: Database) -> None:
    """An open gateway on a laptop is not steered by whatever page its user visits."""
    async with running_gateway(database.dsn) as gateway:
        foreign = {"Sec-Fetch-Site": "cross-site"}
        await gateway.post("/api/tasks", TASK, 403, headers=foreign)
        await gateway.post("/api/tasks", TASK, 201, headers={"Sec-Fetch-Site": "same-origin"})


async def test_client_that_asks_too_often_is_told_when_to_come_back(database: Database) -> None:
    """The limit is per client and answers 429 with Retry-After."""
    async with running_gateway(
        database.dsn, requests_per_second_max=0.1, requests_burst_max=2
    ) as gateway:
        await gateway.get("/api/queue")
        await gateway.get("/api/queue")
        async with gateway.session.get(f"{gateway.url}/api/queue") as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (429, "10")
        await gateway.get("/api/health")


def test_rate_limit_refills_with_time_and_keeps_clients_apart() -> None:
    """A bucket holds the burst, refills at the rate, and is nobody else's."""
    now = [0.0]
    limit = RateLimit(2, 2, clock=lambda: now[0])

    first = [limit.take("a") for _ in range(3)]
    other = limit.take("b")
    now[0] = 0.5

    assert first == [0, 0, 0.5]
    assert other == 0
    assert [limit.take("a"), limit.take("a")] == [0, 0.5]
    assert RateLimit(0, 1).take("a") == 0


@pytest.mark.parametrize(
    "text", ["token", "=read", "t=reed", "t=", "a=read,b=read+own", "sha256:0owned=read"]
)
def test_token_setting_that_makes_no_sense_is_refused_without_showing_the_token(text: str) -> None:
    """A misspelt scope stops the service instead of opening or closing it, and leaks nothing."""
    with pytest.raises(ConfigurationError, match=r"REVEILLE_API_TOKENS: entry [12]") as raised:
        parse_tokens(text)

    assert "own" not in str(raised.value)


def test_token_may_hold_equals_signs() -> None:
    """Base64 padding belongs to the token."""
    tokens = parse_tokens(" dG9rZW4==read+work ,")

    assert tokens.scopes("dG9rZW4=") == {"read", "work"}
    assert tokens.scopes("dG9rZW4") is None


def test_digests_stand_for_tokens_and_open_nothing_themselves() -> None:
    """Workers elsewhere are given digests: enough to know a caller by, useless to whoever reads them."""
    given = parse_tokens("backend=submit+read,boss=operate").digested()
    tokens = parse_tokens(given)

    assert "backend" not in given
    assert tokens.scopes("backend") == {"submit", "read"}
    assert tokens.scopes("boss") == {"operate"}
    assert all(tokens.scopes(entry.partition("=")[0]) is None for entry in given.split(","))
    assert tokens.digested() == given
