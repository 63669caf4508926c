"""The first page: what waits, runs and costs, now and lately, per pool."""

from dataclasses import dataclass

from aiohttp import web

from queue_gateway.board.charts import Chart, added, chart
from queue_gateway.board.door import Page, Visitor
from queue_gateway.board.fleet import latest_of_each
from queue_gateway.board.history import SPANS_SECONDS, Histories, History
from queue_gateway.board.troubles import Situation, troubles
from queue_gateway.containers import containers
from queue_gateway.desk import Desk
from queue_gateway.pages import page
from queue_gateway.pools import Pool, pools
from queue_gateway.queue_depth import PoolDepth, depth
from queue_gateway.servers import servers
from queue_gateway.task_view import TaskSummary
from reveille.wishes import ENDED

LATEST_MAX = 12
CONTAINERS_MAX = 30
DECISIONS_MAX = 6
# One server may be silent or gone for long; the fleet page shows those.
LIVING = frozenset({"starting", "active", "draining"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """Money of a pool, or of all."""

    today_usd: float
    month_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolCard:
    """A pool with its charts; `waiting` and `running` share a scale."""

    pool: Pool
    now: PoolDepth | None
    waiting: Chart
    running: Chart
    done: Chart
    failed: Chart
    containers: Chart
    usd: Chart
    spend: Spend


def overview_page(histories: Histories) -> Page:
    """The page over these histories."""

    async def show(desk: Desk, request: web.Request, visitor: Visitor) -> web.Response:
        asked = request.query.get("span", "")
        history = await histories.read(asked if asked in SPANS_SECONDS else "1h")
        queue = await depth(desk)
        known = await pools(desk)
        spent = {row["pool"]: row for row in await desk.store.rows("spend")}
        now = {entry.pool: entry for entry in queue.pools}
        spends = {
            pool.name: Spend(
                today_usd=spent.get(pool.name, {}).get("today_usd", 0.0),
                month_usd=spent.get(pool.name, {}).get("month_usd", 0.0),
            )
            for pool in known
        }
        rows = await desk.store.rows("list_tasks", None, None, None, None, LATEST_MAX)
        whole, spend = _whole(history, known), _sum(list(spends.values()))
        cap_usd = desk.settings.budget_hard_usd or desk.settings.budget_soft_usd
        everyone, fleet = await servers(desk), await containers(desk, limit=CONTAINERS_MAX)
        trouble = Situation(
            since=history.begins_at,
            pools=known,
            depths=queue.pools,
            containers=latest_of_each(fleet),
            servers=everyone,
            failed=whole["failed"].total,
            month_usd=spend.month_usd,
            cap_usd=cap_usd,
        )
        return page(
            "overview.html",
            visitor=visitor,
            history=history,
            spans=list(SPANS_SECONDS),
            queue=queue,
            whole=whole,
            troubles=troubles(trouble),
            cards=[_card(pool, now.get(pool.name), spends[pool.name], history) for pool in known],
            spend=spend,
            cap_usd=cap_usd,
            servers=[server for server in everyone if server.status in LIVING],
            containers=[one for one in fleet if one.state not in ENDED],
            decisions=await desk.store.rows("latest_decisions", DECISIONS_MAX, None),
            tasks=[TaskSummary.model_validate(row) for row in rows],
        )

    return show


def _card(pool: Pool, now: PoolDepth | None, spend: Spend, history: History) -> PoolCard:
    name = pool.name
    waiting, running = history.of("waiting", name), history.of("running", name)
    done, failed = history.of("done", name), history.of("failed", name)
    level = chart(added([waiting, running])).most
    ended = chart(added([done, failed])).most
    return PoolCard(
        pool=pool,
        now=now,
        waiting=chart(waiting, level),
        running=chart(running, level),
        done=chart(added([done, failed]), ended),
        failed=chart(failed, ended),
        containers=chart(history.of("containers", name)),
        usd=chart(history.of("usd", name)),
        spend=spend,
    )


def _whole(history: History, known: list[Pool]) -> dict[str, Chart]:
    """The sums over all pools, by kind."""
    kinds = ("waiting", "running", "done", "failed", "containers", "usd")
    names = [pool.name for pool in known]
    sums = {kind: added([history.of(kind, name) for name in names]) for kind in kinds}
    ended = added([sums["done"], sums["failed"]])
    most = chart(ended).most
    charts = {kind: chart(values) for kind, values in sums.items()}
    return charts | {"ended": chart(ended, most), "failed": chart(sums["failed"], most)}


def _sum(spends: list[Spend]) -> Spend:
    return Spend(
        today_usd=sum(spend.today_usd for spend in spends),
        month_usd=sum(spend.month_usd for spend in spends),
    )
