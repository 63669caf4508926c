"""The scaling file: the requirements' block as it stands, and every way to get it wrong."""

from pathlib import Path

import pytest

from autoscaler.scaling_file import parse_duration, read_scaling
from reveille.errors import ConfigurationError

REQUIREMENTS = Path(__file__).parents[1] / "fixtures" / "scaling.yaml"


@pytest.fixture
def scaling_file(tmp_path: Path) -> Path:
    return tmp_path / "scaling.yaml"


def test_block_of_the_requirements_is_valid_as_it_stands() -> None:
    """Durations, both pools, nothing else needed."""
    pools = read_scaling(REQUIREMENTS)
    visual, text = pools["visual"], pools["text"]
    assert (visual.max_replicas, visual.scale_up_delay, visual.policy) == (3, 120.0, "marginal")
    assert (text.max_replicas, text.scale_up_delay, text.scale_down_delay) == (5, 90.0, 600.0)
    assert (visual.price_usd_per_hour, text.price_usd_per_hour) == (0.5, 0.8)
    assert text.lone_task_seconds == 90.0


def test_defaults_without_a_file_are_the_requirements_numbers() -> None:
    """A system without a scaling file scales all the same."""
    pools = read_scaling(None)
    bounds = {name: (p.min_replicas, p.max_replicas) for name, p in pools.items()}
    assert bounds == {"visual": (0, 3), "text": (0, 5), "combined": (0, 5)}
    assert {p.scale_down_delay for p in pools.values()} == {600.0}


def test_overrides_win_over_the_file_for_every_pool(scaling_file: Path) -> None:
    """The demo is quick without a file of its own."""
    scaling_file.write_text(REQUIREMENTS.read_text() + "budget: {soft_usd_per_month: 80}\n")
    overrides = {"scale_up_delay": 1.5, "lone_task_delay": None, "budget_hard_usd_per_month": 100}
    pools = read_scaling(scaling_file, overrides=overrides)
    assert {p.scale_up_delay for p in pools.values()} == {1.5}
    budget = pools["text"].budget
    assert (budget.soft_usd_per_month, budget.hard_usd_per_month) == (80, 100)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            "visual_container_scaling: {max_replica: 3}",
            "visual_container_scaling.max_replica: unknown key",
        ),
        ("video_container_scaling: {}", "unknown key 'video_container_scaling'"),
        ("text_container_scaling: {min_replicas: 6}", "min_replicas 6 is above max_replicas 5"),
        ("text_container_scaling: {min_replicas: -1}", "text_container_scaling.min_replicas"),
        ("text_container_scaling: {max_replicas: many}", "text_container_scaling.max_replicas"),
        ("text_container_scaling: {scale_up_delay: -5}", "text_container_scaling.scale_up_delay"),
        ("text_container_scaling: {scale_up_delay: soon}", "'soon' is no duration"),
        ("text_container_scaling: {scale_up_delay: .inf}", "text_container_scaling.scale_up_delay"),
        ("text_container_scaling: {startup_timeout: 0}", "startup_timeout must be more than 0"),
        ("text_container_scaling: {policy: clairvoyant}", "known are threshold"),
        (
            "text_container_scaling: {price_usd_per_hour: -1}",
            "text_container_scaling.price_usd_per_hour",
        ),
        ("text_container_scaling: {budget: {}}", "budget stands beside the pools"),
        ("text_container_scaling: 3", "expected keys and values"),
        ("budget: {soft_usd_per_month: 100, hard_usd_per_month: 80}", "above hard_usd_per_month"),
        ("budget: {monthly: 80}", "budget.monthly: unknown key"),
        ("- 1", "expected blocks"),
        ("a: [", "is not YAML"),
    ],
)
def test_wrong_file_is_refused_by_the_full_name_of_the_key(
    scaling_file: Path, content: str, words: str
) -> None:
    """A typing error must not cost money quietly."""
    scaling_file.write_text(content)
    with pytest.raises(ConfigurationError) as refused:
        read_scaling(scaling_file)
    assert words in str(refused.value)
    assert str(scaling_file) in str(refused.value)


def test_missing_file_is_refused_by_its_setting(tmp_path: Path) -> None:
    """A path that leads nowhere is no reason to fall back to defaults."""
    with pytest.raises(ConfigurationError, match="REVEILLE_SCALING_FILE"):
        read_scaling(tmp_path / "absent.yaml")


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("120s", 120.0), ("10m", 600.0), ("1h", 3600.0), ("500ms", 0.5), (90, 90.0), ("90", 90.0)],
)
def test_durations_are_seconds(written: str | int, seconds: float) -> None:
    """The forms that scaling files are written in."""
    assert parse_duration(written) == seconds
