"""Settings of the heartbeat monitor."""

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from heartbeat_monitor.verdict import Limits
from reveille.settings import Settings


class MonitorSettings(Settings):
    """What the monitor adds. The defaults give a killed worker's tasks back within 5 s."""

    lease_seconds: PositiveFloat = Field(30.0, description="silence: a server counts as lost")
    presence_grace_seconds: NonNegativeFloat = Field(
        3.0, description="a worker's connection may be gone for this long and come back"
    )
    tick_seconds: PositiveFloat = Field(0.5, description="pause between rounds while tasks run")
    attention_seconds: NonNegativeFloat = Field(
        5.0, description="rounds go on for this long after news: a claim tells nobody"
    )
    outage_grace_seconds: NonNegativeFloat = Field(
        15.0, description="after the database was away nobody is declared lost for this long"
    )
    audit_seconds: PositiveFloat = Field(300.0, description="between looks for stranded dependents")
    backstop_seconds: PositiveFloat = Field(300.0, description="longest pause, whatever was heard")
    server_keep_seconds: PositiveFloat = Field(
        86_400.0, description="how long rows of servers that are gone are kept"
    )
    creating_seconds_max: PositiveFloat = Field(
        180.0, description="a container that is asked for longer is marked as stuck"
    )
    booting_seconds_max: PositiveFloat = Field(600.0, description="likewise, one that boots")
    draining_seconds_max: PositiveFloat = Field(
        3_900.0,
        description="likewise, one that drains: above the longest time limit of a task type",
    )
    dead_workers_max: PositiveInt = Field(3, description="workers that may die with one task")
    waiting_seconds_max: PositiveFloat = Field(
        600.0,
        description="a task that waits longer with no server for it: an outage, to the report",
    )
    rows_max: PositiveInt = Field(1_000, description="tasks moved by one statement")
    archive_after_days: PositiveFloat | None = Field(
        None, description="finished tasks move to the archive after this; unset: never"
    )
    archive_keep_days: PositiveFloat | None = Field(
        None, description="the archive's months are dropped after this; unset: never"
    )
    archive_seconds: PositiveFloat = Field(3_600.0, description="between two archive passes")

    @property
    def limits(self) -> Limits:
        """The part that the verdict needs."""
        return Limits(
            lease_seconds=self.lease_seconds,
            presence_grace_seconds=self.presence_grace_seconds,
            tick_seconds=self.tick_seconds,
            outage_grace_seconds=self.outage_grace_seconds,
            audit_seconds=self.audit_seconds,
            backstop_seconds=self.backstop_seconds,
            container_seconds_max={
                "intended": self.creating_seconds_max,
                "creating": self.creating_seconds_max,
                "booting": self.booting_seconds_max,
                "draining": self.draining_seconds_max,
            },
        )
