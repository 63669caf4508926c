"""The Promela models of docs/model: sound as built, and able to fail."""

import shutil
import subprocess
from pathlib import Path

import pytest

MODELS = Path(__file__).parents[2] / "docs" / "model"
STEPS_MAX = 100_000


def errors_of(model: str, variant: tuple[str, ...], folder: Path) -> int:
    """Search every order of events; how many errors were found before the search stopped."""
    spin, compiler = shutil.which("spin"), shutil.which("cc")
    if spin is None or compiler is None:
        pytest.skip("spin and a C compiler are not installed")
    shutil.copy(MODELS / model, folder)
    defines = [f"-D{name}" for name in variant]
    for command in (
        [spin, *defines, "-a", model],
        [compiler, "-O1", "-w", "-DSAFETY", "-o", "pan", "pan.c"],
    ):
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    search = subprocess.run(
        [folder / "pan", f"-m{STEPS_MAX}"], cwd=folder, check=True, capture_output=True, text=True
    )
    assert "max search depth too small" not in search.stdout
    (line,) = (line for line in search.stdout.splitlines() if "errors:" in line)
    return int(line.rpartition("errors:")[2])


@pytest.mark.parametrize(
    ("model", "variant"),
    [("wakeup.pml", ()), ("wakeup.pml", ("HOLDER_MAY_FAIL", "HEARTBEAT")), ("lease.pml", ())],
)
def test_model_as_built_has_no_error_in_any_order_of_events(
    model: str, variant: tuple[str, ...], tmp_path: Path
) -> None:
    """No committed task waits for ever, and none ends twice, whatever happens in whichever order."""
    assert errors_of(model, variant, tmp_path) == 0


@pytest.mark.parametrize(
    ("model", "broken"),
    [
        ("wakeup.pml", "NO_SECOND_LOOKS"),
        ("wakeup.pml", "HORIZON_OF_THE_COMPLETED"),
        ("wakeup.pml", "HOLDER_MAY_FAIL"),
        ("lease.pml", "NO_FENCE"),
        ("lease.pml", "RESULT_FIRST"),
    ],
)
def test_model_without_one_of_its_safeguards_has_an_error(
    model: str, broken: str, tmp_path: Path
) -> None:
    """Each safeguard is needed, and the model would notice if it were gone."""
    assert errors_of(model, (broken,), tmp_path) > 0
