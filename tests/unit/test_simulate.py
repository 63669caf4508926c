"""The simulator: exact little loads, invented months, traces, and the bound."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from autoscaler.scaling_file import PoolScaling, read_scaling
from autoscaler.simulate.__main__ import command
from autoscaler.simulate.bound import lower_bound_seconds
from autoscaler.simulate.engine import Run, simulate
from autoscaler.simulate.load import DAY_SECONDS, Load, Task, pitch_decks, read_trace
from autoscaler.simulate.picture import course_of, line
from autoscaler.simulate.score import play, play_config, varied
from autoscaler.simulate.tune import Trial, tune
from autoscaler.simulate.weather import Dice, Weather
from reveille.cli.app import app
from reveille.errors import ConfigurationError

MARGINAL = PoolScaling(policy="marginal", cold_start=100.0, startup_timeout=1000.0)
AZURE = Path(__file__).parents[3] / "shared" / "traces" / "AzureLLMInferenceTrace_code.csv"


def alone(tasks: list[Task], config: PoolScaling, cold_start: float, *, horizon: float) -> Run:
    """One pool under a clear sky."""
    weather = Weather(cold_start=cold_start)
    return simulate(Load(tasks), {"visual": config}, weather, horizon)["visual"]


def test_single_task_costs_a_cold_start_its_work_and_the_keeping() -> None:
    """100 s up, 50 s work, 100 s kept: nothing else is billed."""
    run = alone([Task(10.0, 50.0)], MARGINAL, 100.0, horizon=1000.0)
    assert run.started_at == [110.0]
    assert run.done_at == [160.0]
    assert run.replica_seconds == pytest.approx(250.0)


def test_threshold_guards_its_lone_task_and_the_letter_does_not() -> None:
    """The requirement taken literally leaves it waiting until the end."""
    guarded = alone([Task(0.0, 50.0)], PoolScaling(policy="threshold"), 100.0, horizon=5000.0)
    assert guarded.started_at == [220.0]
    letter = PoolScaling(policy="threshold", lone_task_delay=1e12)
    assert alone([Task(0.0, 50.0)], letter, 100.0, horizon=5000.0).started_at == [None]


def test_stream_that_needs_many_replicas_gets_them_from_zero_and_keeps_them() -> None:
    """20 tasks of 8 s a second are the work of 160; more wait than a policy is listed."""
    config = MARGINAL.model_copy(update={"max_replicas": 200, "cold_start": 120.0})
    tasks = [Task(n / 20, 8.0) for n in range(20 * 2400)]
    run = alone(tasks, config, 120.0, horizon=2400.0)
    late = [moment for moment in run.moments if 1200 < moment.at < 2400]
    assert all(155 <= moment.ready <= 200 for moment in late)
    waits = [at - task.arrival_s for at, task in zip(run.started_at, tasks, strict=True) if at]
    assert len(waits) == len(tasks)
    assert max(waits) <= 1.5 * config.wait_goal


def test_same_seed_gives_the_same_month() -> None:
    """A result can be repeated."""
    assert pitch_decks(20, 28, seed=3) == pitch_decks(20, 28, seed=3)
    assert pitch_decks(20, 28, seed=3) != pitch_decks(20, 28, seed=4)
    assert pitch_decks(20, 280, seed=1).documents == pytest.approx(20 * 280, rel=0.1)


loads = st.lists(
    st.builds(Task, st.floats(0, 5000), st.floats(1, 300), st.integers(1, 3)),
    min_size=1,
    max_size=25,
).map(lambda tasks: sorted(tasks, key=lambda task: task.arrival_s))


@settings(deadline=None, max_examples=25)
@given(loads, st.sampled_from([30.0, 100.0, 250.0]))
def test_marginal_serves_everything_and_no_replica_goes_before_it_was_ready(
    tasks: list[Task], cold_start: float
) -> None:
    """Whatever arrives: all done, the pool is empty in the end, no start is thrown away."""
    config = MARGINAL.model_copy(update={"cold_start": cold_start})
    run = alone(tasks, config, cold_start, horizon=10_000.0)
    assert None not in run.done_at
    for replica in run.replicas:
        assert replica.stopped_at is not None
        assert replica.stopped_at - replica.started_at >= cold_start
    assert max(moment.replicas for moment in run.moments) <= config.max_replicas


@settings(deadline=None, max_examples=25)
@given(loads, st.sampled_from([30.0, 100.0, 400.0]))
def test_bound_is_below_a_run_that_meets_the_goal(tasks: list[Task], cold_start: float) -> None:
    """A lower bound that some policy beats would be none."""
    run = alone(tasks, MARGINAL, cold_start, horizon=10_000.0)
    pairs = zip(tasks, run.started_at, strict=True)
    goal = max([1.0, *(at - task.arrival_s for task, at in pairs if at is not None)])
    work = [(task.arrival_s, task.service_s) for task in tasks]
    assert lower_bound_seconds(work, cold_start, goal) <= run.replica_seconds + 1e-6


def test_bound_of_far_apart_tasks_is_a_start_and_the_work_of_each() -> None:
    """Nobody keeps a replica for a day."""
    tasks = [(0.0, 10.0), (90_000.0, 20.0)]
    assert lower_bound_seconds(tasks, 100.0, 300.0) == 230.0
    near = [(0.0, 10.0), (50.0, 20.0)]
    assert lower_bound_seconds(near, 100.0, 300.0) == 130.0


def test_marginal_is_within_1_3_times_the_bound_where_threshold_is_not() -> None:
    """A month of 20 documents a day: the reason why there is a second policy."""
    load, scaling, weather = pitch_decks(20, 28, 1001), read_scaling(None), Weather()
    marginal = play(load, "marginal", scaling, weather, 28).scores[-1]
    threshold = play(load, "threshold", scaling, weather, 28).scores[-1]
    assert 1.0 <= marginal.ratio <= 1.3
    assert marginal.share_within_10_minutes >= 0.95
    assert marginal.wait_mean_seconds < 300
    assert marginal.usd_per_month < 0.5 * threshold.usd_per_month
    # Every policy is measured by the same bound.
    assert marginal.bound_usd_per_month == threshold.bound_usd_per_month


def test_plain_trace_is_read_with_and_without_its_optional_columns(tmp_path: Path) -> None:
    """Two columns suffice; the clock starts at the first arrival and may be stretched."""
    trace = tmp_path / "trace.csv"
    trace.write_text("arrival_s,service_s\n20,5\n10,4\n")
    assert read_trace(trace, stretch=2).tasks == [Task(0.0, 4.0), Task(20.0, 5.0)]
    trace.write_text("arrival_s,service_s,priority,task_type\n0,5,3,slide_feedback\n")
    assert read_trace(trace).tasks == [Task(0.0, 5.0, 3, "slide_feedback")]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "expected the columns"),
        ("a,b\n1,2\n", "expected the columns"),
        ("arrival_s,service_s\n", "holds no task"),
        ("arrival_s,service_s\n1,x\n", "line 2"),
        ("arrival_s,service_s\n1\n", "line 2"),
        ("arrival_s,service_s\n1,0\n", "service_s must be"),
        ("arrival_s,service_s\n1,1e308\n", "line 2: service_s must be"),
        ("arrival_s,service_s\n0,1\n1e300,1\n", "at most 3660 are played"),
        ("arrival_s,service_s,task_type\n0,1,other\n", "line 2: unknown task_type 'other'"),
        ("arrival_s,service_s\n0,1\n" + "x" * 200_000, "is no CSV"),
        ("arrival_s,service_s\nnan,1\n", "line 2"),
        ("arrival_s,service_s,priority\n1,1,9\n", "priority must be"),
    ],
)
def test_wrong_trace_is_refused_by_its_line(tmp_path: Path, content: str, words: str) -> None:
    """A mistake in a long file must be found."""
    trace = tmp_path / "trace.csv"
    trace.write_text(content)
    with pytest.raises(ConfigurationError, match=words):
        read_trace(trace)


def test_token_trace_is_read_with_service_times_from_its_counts() -> None:
    """The published format: a moment, a prompt and an answer."""
    if not AZURE.exists():
        pytest.skip("the published traces are not here")
    load = read_trace(AZURE)
    assert load.documents == 8819
    assert load.tasks[0].service_s == pytest.approx(4808 / 2000 + 10 / 40)
    assert 3000 < load.tasks[-1].arrival_s < 3600


def test_command_prints_json_and_draws(tmp_path: Path) -> None:
    """What a script reads and what a page shows."""
    drawing = tmp_path / "month.svg"
    arguments = ["--documents", "5", "--days", "7", "--cold-start", "60s", "--cold-start", "2m"]
    done = CliRunner().invoke(_app(), [*arguments, "--json", "--svg", str(drawing)])
    scores = json.loads(done.stdout)
    assert {score["cold_start_seconds"] for score in scores} == {60.0, 120.0}
    assert {score["policy"] for score in scores} >= {"marginal", "threshold"}
    assert ET.parse(drawing).getroot().tag.endswith("svg")  # noqa: S314 - our own file
    table = CliRunner().invoke(_app(), [*arguments, "--policy", "marginal"])
    assert "$/month" in table.stdout
    assert "█" in table.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--documents", "nan"], "must be more than 0"),
        (["--documents", "1e9"], "more than 20,000,000 tasks"),
        (["--days", "9999"], "at most 3660"),
        (["--trace", "missing.csv"], "No such file"),
        (["--trace", "a.csv", "--from-database"], "choose one"),
        (["--trace", "a.csv", "--documents", "5"], "leave it out"),
        (["--trace", "a.csv", "--days", "5"], "played whole"),
        (["--tune", "--policy", "marginal"], "leave --policy out"),
        (["--picture", "/missing/folder/a.svg"], "there is no folder"),
        (["--cold-start", "0s"], "must be more than 0"),
        (["--cold-start", "soon"], "is no duration"),
        (["--scaling", "missing.yml"], "No such file"),
    ],
)
def test_options_that_make_no_plan_are_refused_in_words(arguments: list[str], words: str) -> None:
    """Before anything is played, and with what to do."""
    done = CliRunner().invoke(_app(), arguments)
    assert isinstance(done.exception, ConfigurationError)
    assert words in str(done.exception)


def test_trace_of_own_task_types_is_led_to_their_pools(tmp_path: Path) -> None:
    """A text task costs what the text pool costs."""
    trace = tmp_path / "trace.csv"
    trace.write_text(
        "arrival_s,service_s,priority,task_type\n0,5,1,visual_analysis\n9,5,1,template_analysis\n"
    )
    assert read_trace(trace).pools == ["visual", "text"]


def test_start_times_are_drawn_from_those_that_were_measured() -> None:
    """A distribution of one's own, by the same seed the same draws."""
    weather = Weather(measured=(40.0, 90.0, 400.0), seed=5)
    drawn = [dice.start_seconds() for dice in [Dice(weather)] for _ in range(60)]
    assert set(drawn) == {40.0, 90.0, 400.0}
    again = Dice(weather)
    assert [again.start_seconds() for _ in range(60)] == drawn


def test_course_ends_at_what_was_billed() -> None:
    """The line of the money adds up to the table's."""
    load, scaling = pitch_decks(20, 5, seed=4), read_scaling(None)
    outcome = play(load, "marginal", scaling, Weather(crashes_per_hour=1.0), 5)
    for score in outcome.scores[:-1]:
        rate = outcome.usd_per_hour[score.pool]
        course = course_of(outcome.moments[score.pool], 5 * DAY_SECONDS, 96, rate)
        assert course.usd[-1] == pytest.approx(score.usd_per_month / 6, abs=0.01)
        assert list(course.usd) == sorted(course.usd)


def test_forecast_keeps_one_warm_when_work_has_come_at_that_time_every_week() -> None:
    """From the fourth week on; a task then finds it ready."""
    week = 7 * DAY_SECONDS
    load = Load([Task(n * week + 30_000.0, 60.0) for n in range(6)])
    plain = MARGINAL.model_copy(update={"forecast": 0.75})
    run = simulate(load, {"visual": plain}, Weather(cold_start=100.0), 6 * week)["visual"]
    waits = [at - task.arrival_s for at, task in zip(run.started_at, run.tasks, strict=True) if at]
    assert waits == [100.0, 100.0, 100.0, 0.0, 0.0, 0.0]


def test_unknown_policy_is_refused_with_the_known_ones() -> None:
    """A typing error is no policy."""
    done = CliRunner().invoke(_app(), ["--policy", "clairvoyant"])
    assert isinstance(done.exception, ConfigurationError)
    assert "marginal" in str(done.exception)


def test_reveille_simulate_hands_its_arguments_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line knows the simulator by name only."""
    called: list[list[str]] = []
    monkeypatch.setattr("os.execv", lambda _, arguments: called.append(arguments[1:]))
    CliRunner().invoke(app, ["simulate", "--documents", "5", "--json"])
    assert called == [["-m", "autoscaler.simulate", "--documents", "5", "--json"]]


def test_line_of_blocks_shows_the_smallest_value_that_is_not_nothing() -> None:
    """One waiting task beside hundreds is still seen."""
    assert line([0, 1, 800]) == " ▁█"


def _app() -> typer.Typer:
    alone = typer.Typer()
    alone.command()(command)
    return alone


# Weather ---------------------------------------------------------------------------------------


def test_failed_starts_and_crashes_cost_money_and_lose_no_task() -> None:
    """A task whose replica died begins again; a start that fails is billed and tried anew."""
    load, scaling = pitch_decks(20, 7, seed=2), read_scaling(None)
    storm = Weather(failing_starts=0.3, crashes_per_hour=2.0, cold_start_spread=0.5, seed=2)
    calm = play(load, "marginal", scaling, Weather(), 7).scores[-1]
    stormy = play(load, "marginal", scaling, storm, 7).scores[-1]
    assert (stormy.unserved, stormy.tasks) == (0, calm.tasks)
    assert stormy.usd_per_month > calm.usd_per_month
    assert stormy.starts > calm.starts


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"cold_start": 0.0}, "cold start must be"),
        ({"cold_start": float("nan")}, "cold start must be"),
        ({"cold_start_spread": -1.0}, "spread"),
        ({"failing_starts": 1.0}, "share of failing"),
        ({"crashes_per_hour": -0.1}, "crashes"),
    ],
)
def test_weather_that_cannot_be_is_refused(wrong: dict[str, float], words: str) -> None:
    """A sign error in an option must not give a plausible table."""
    with pytest.raises(ConfigurationError, match=words):
        Weather(**wrong)  # type: ignore[arg-type]


def test_tuning_finds_nothing_dearer_than_what_is_there_and_tells_what_it_changed() -> None:
    """The answer was played, meets the goals, and names its keys."""
    load, scaling = pitch_decks(10, 4, seed=1), read_scaling(None)
    told: list[Trial] = []
    best = tune(load, scaling, Weather(), 4, wait_goal=300.0, tell=told.append)
    assert best.meets
    assert best is told[-1]
    assert best.score.usd_per_month <= told[0].score.usd_per_month
    again = play_config(
        load,
        "again",
        {
            pool: PoolScaling.model_validate(
                {**varied(config, "marginal", Weather()).model_dump(), **best.changes}
            )
            for pool, config in scaling.items()
        },
        Weather(),
        4,
    ).scores[-1]
    assert again.usd_per_month == best.score.usd_per_month


def test_combined_pool_serves_both_families_on_fewer_starts() -> None:
    """The text tasks find the replica warm that has just read the slides."""
    common = ["--documents", "5", "--days", "7", "--policy", "marginal", "--json"]
    apart = json.loads(CliRunner().invoke(_app(), common).stdout)[-1]
    together = json.loads(CliRunner().invoke(_app(), [*common, "--combined"]).stdout)[-1]
    assert together["tasks"] == apart["tasks"]
    assert together["starts"] < apart["starts"]


def test_picture_is_written_as_png(tmp_path: Path) -> None:
    """By the ending of its name; another ending is refused."""
    drawing = tmp_path / "week.png"
    common = ["--documents", "5", "--days", "3", "--policy", "marginal"]
    CliRunner().invoke(_app(), [*common, "--picture", str(drawing)])
    assert drawing.read_bytes().startswith(b"\x89PNG")
    wrong = CliRunner().invoke(_app(), [*common, "--picture", str(tmp_path / "week.gif")])
    assert isinstance(wrong.exception, ConfigurationError)


def test_many_months_are_told_by_their_median_and_worst() -> None:
    """Number by number, over seeds from the given one on."""
    common = ["--documents", "5", "--days", "3", "--policy", "marginal", "--json"]
    months = [
        json.loads(CliRunner().invoke(_app(), [*common, "--seed", seed]).stdout)[-1]
        for seed in ("7", "8", "9")
    ]
    done = CliRunner().invoke(_app(), [*common, "--seed", "7", "--months", "3"])
    middle, worst = json.loads(done.stdout)
    costs = sorted(month["usd_per_month"] for month in months)
    assert (middle["pool"], middle["usd_per_month"]) == ("median", costs[1])
    assert (worst["pool"], worst["usd_per_month"]) == ("worst", costs[2])
    share = min(month["share_within_10_minutes"] for month in months)
    assert worst["share_within_10_minutes"] == share
    wrong = CliRunner().invoke(_app(), ["--months", "2", "--tune"])
    assert isinstance(wrong.exception, ConfigurationError)
