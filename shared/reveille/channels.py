"""The NOTIFY channels, spelled in this one place. A payload is a hint: who hears it reads the
rows.
"""

from enum import StrEnum
from zlib import crc32


class Channel(StrEnum):
    """Name of a channel; the comment says its payload."""

    TASK_READY = "task_ready"  # pool: tasks became claimable
    TASK_CHANGED = "task_changed"  # JSON id, status, progress; only while somebody listens
    TASK_CANCEL = "task_cancel"  # id: a running task must stop
    SERVER_CHANGED = "server_changed"  # id: registered, draining, lost, gone
    SCALING_CHANGED = "scaling_changed"  # pool: the autoscaler should look
    TIMER_CHANGED = "timer_changed"  # empty: a task waits for a time (internal)


LOCK_SPACE = (
    5395020  # "RVL": first key of the two-key advisory locks, see db/migrations/0003_triggers.sql
)
LOCK_LISTENING = 2
LOCK_MIGRATOR = 3
PRESENCE_SPACE = 5395021  # second key: processing_servers.presence_key
LEADER_SPACE = 5395022  # second key: hash of the leader's name
LEADER_NAME = "autoscaler"  # of the one who starts and stops containers
LEADER_KEY = crc32(LEADER_NAME.encode()) & 0x7FFF_FFFF
