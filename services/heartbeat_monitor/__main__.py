"""`python -m heartbeat_monitor` runs one monitor; `--print-settings` shows its settings."""

from heartbeat_monitor.config import MonitorSettings
from heartbeat_monitor.service import HeartbeatMonitor
from reveille.lifecycle import main

if __name__ == "__main__":
    main("heartbeat-monitor", MonitorSettings, HeartbeatMonitor)
