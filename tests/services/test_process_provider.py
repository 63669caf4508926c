"""The process provider with real processes: small stand-ins for workers."""

import asyncio
import os
import signal
import sys
import textwrap
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from autoscaler.provider import ContainerSpec, ProviderContainer, ProviderError
from autoscaler.providers import launch
from autoscaler.providers.process import ProcessProvider
from reveille.testing import eventually

SPEC = ContainerSpec(name="reveille-text-0", pool="text", slot=0, server_id="reveille-text-0-1")

POLITE = "import signal, sys, threading\n" + textwrap.dedent("""
    gone = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: gone.set())
    print("ready", flush=True)
    while not gone.wait(0.05): pass
    print("drained", flush=True)
""")
STUBBORN = textwrap.dedent("""
    import signal, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("ready", flush=True)
    while True: time.sleep(60)
""")
NOSY = textwrap.dedent("""
    import os
    names = "REVEILLE_SERVER_ID REVEILLE_CONTAINER_ID REVEILLE_HTTP_PORT DATABASE_URL"
    print(*(os.environ.get(name) for name in names.split()), os.getsid(0) == os.getpid())
""")


def provider_of(folder: Path, script: str, **more: object) -> ProcessProvider:
    def command(_: ContainerSpec) -> Sequence[str]:
        return (sys.executable, "-c", script)

    return ProcessProvider(folder, command=command, **more)  # type: ignore[arg-type]


@pytest.fixture
async def folder(tmp_path: Path) -> AsyncIterator[Path]:
    """A run directory; nothing that was started in it outlives the test."""
    yield tmp_path
    await asyncio.gather(
        *(
            ProcessProvider(tmp_path, grace_seconds=0.01).stop(file.stem)
            for file in tmp_path.glob("*.pid")
        )
    )


async def only(provider: ProcessProvider) -> ProviderContainer:
    (container,) = await provider.list()
    return container


def log_of(folder: Path) -> str:
    return (folder / f"{SPEC.name}.log").read_text()


async def ready(folder: Path) -> None:
    await eventually(lambda: "ready" in log_of(folder))


async def test_process_is_started_listed_and_asked_to_end(folder: Path) -> None:
    """The whole life, with SIGTERM as the worker's chance to drain."""
    provider = provider_of(folder, POLITE)
    ref = await provider.create(SPEC)
    await ready(folder)
    assert await provider.list() == [ProviderContainer(name=SPEC.name, ref=ref, state="running")]
    await provider.stop(SPEC.name)
    assert await provider.list() == []
    assert launch.identity_of(int(ref)) is None
    assert log_of(folder).endswith("drained\n")


async def test_process_that_does_not_end_is_killed_after_the_grace(folder: Path) -> None:
    """A stop comes to an end, whatever the worker does."""
    provider = provider_of(folder, STUBBORN, grace_seconds=0.1)
    ref = await provider.create(SPEC)
    await ready(folder)
    await provider.stop(SPEC.name)
    assert launch.identity_of(int(ref)) is None


async def test_second_create_under_a_name_returns_what_runs(folder: Path) -> None:
    """Names are the idempotency keys, also for another autoscaler process."""
    provider = provider_of(folder, POLITE)
    ref = await provider.create(SPEC)
    assert await provider.create(SPEC) == ref
    assert await provider_of(folder, POLITE).create(SPEC) == ref


async def test_process_is_found_again_by_the_next_autoscaler(folder: Path) -> None:
    """A restart of the autoscaler neither loses nor ends its workers."""
    ref = await provider_of(folder, POLITE).create(SPEC)
    await ready(folder)
    successor = provider_of(folder, POLITE)
    assert (await only(successor)).ref == ref
    await successor.stop(SPEC.name)
    assert launch.identity_of(int(ref)) is None


async def test_pid_that_belongs_to_another_process_now_is_left_alone(folder: Path) -> None:
    """A pid file from before a reboot must not end somebody else's process."""
    provider = provider_of(folder, POLITE)
    ref = await provider.create(SPEC)
    await ready(folder)
    stale = folder / "reveille-text-1.pid"
    stale.write_text(f'{{"pid": {ref}, "started": "1"}}')
    states = {container.name: container.state for container in await provider.list()}
    assert states == {"reveille-text-0": "running", "reveille-text-1": "exited"}
    await provider.stop("reveille-text-1")
    assert launch.identity_of(int(ref)) is not None


async def test_process_that_ended_says_how_and_its_last_words(folder: Path) -> None:
    """The reason is in the row, not only in a log file that nobody opens."""
    provider = provider_of(folder, "import sys; print('no such model'); sys.exit(78)")
    await provider.create(SPEC)
    await eventually(lambda: _ended(provider))
    assert (await only(provider)).detail == "exit code 78; no such model"
    await provider.stop(SPEC.name)
    assert await provider.list() == []


async def _ended(provider: ProcessProvider) -> bool:
    return (await only(provider)).state == "exited"


async def test_worker_gets_its_names_and_not_the_autoscalers_port(folder: Path) -> None:
    """Two processes on one port, or under one server id, would be the end of both."""
    environment = {
        "PATH": os.environ["PATH"],
        "REVEILLE_HTTP_PORT": "8080",
        "REVEILLE_SERVER_ID": "autoscaler",
        "DATABASE_URL": "postgresql://there",
    }
    provider = provider_of(folder, NOSY, environment=environment)
    await provider.create(SPEC)
    await eventually(lambda: _ended(provider))
    assert log_of(folder).split() == [
        "reveille-text-0-1",
        "reveille-text-0",
        "0",
        "postgresql://there",
        "True",
    ]


async def test_worker_gets_what_is_set_for_workers_alone(folder: Path) -> None:
    """The autoscaler's login may not claim tasks: a worker needs a DSN of its own."""
    environment = {
        **os.environ,
        "DATABASE_URL": "postgresql://autoscaler@there",
        "REVEILLE_WORKER_ENV_DATABASE_URL": "postgresql://worker@there",
    }
    provider = provider_of(folder, NOSY, environment=environment)
    await provider.create(SPEC)
    await eventually(lambda: _ended(provider))
    assert "postgresql://worker@there" in log_of(folder).split()


async def test_command_that_does_not_exist_is_seen_as_ended(folder: Path) -> None:
    """The starter writes its pid file first, so even this is found and told."""
    provider = ProcessProvider(folder, command=lambda _: ("/nonexistent/worker",))
    await provider.create(SPEC)
    await eventually(lambda: _ended(provider))
    assert "No such file" in (await only(provider)).detail


async def test_folder_that_cannot_be_written_is_a_providers_error(tmp_path: Path) -> None:
    """An error is a state of the container, not the end of the autoscaler."""
    file = tmp_path / "taken"
    file.write_text("")
    with pytest.raises(ProviderError, match="could not be started"):
        await provider_of(file, POLITE).create(SPEC)


async def test_stop_of_what_is_gone_succeeds(tmp_path: Path) -> None:
    """So a stop can be repeated after a crash."""
    await provider_of(tmp_path, POLITE).stop("reveille-text-9")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="binding needs PR_SET_PDEATHSIG")
@pytest.mark.parametrize("bound", [True, False])
async def test_bound_process_ends_with_its_autoscaler_and_a_free_one_does_not(
    folder: Path, bound: bool
) -> None:
    """The demo leaves nothing running, even after SIGKILL; an installation keeps working."""
    script = textwrap.dedent(f"""
        import asyncio, sys
        from pathlib import Path
        from autoscaler.provider import ContainerSpec
        from autoscaler.providers.process import ProcessProvider
        command = lambda _: (sys.executable, "-c", {POLITE!r})
        provider = ProcessProvider(Path({str(folder)!r}), command=command, bound={bound})
        spec = ContainerSpec(name={SPEC.name!r}, pool="text", slot=0, server_id="s")
        print(asyncio.run(provider.create(spec)), flush=True)
        sys.stdin.read()
    """)
    autoscaler = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert autoscaler.stdout is not None
    pid = int(await autoscaler.stdout.readline())
    await ready(folder)
    autoscaler.send_signal(signal.SIGKILL)
    await autoscaler.wait()
    if bound:
        await eventually(lambda: launch.identity_of(pid) is None)
        assert log_of(folder).endswith("drained\n")
    else:
        assert launch.identity_of(pid) is not None
