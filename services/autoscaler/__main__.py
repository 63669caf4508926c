"""`python -m autoscaler` runs one autoscaler; `--print-settings` shows its settings."""

from autoscaler.config import AutoscalerSettings
from autoscaler.service import Autoscaler
from reveille.lifecycle import main

if __name__ == "__main__":
    main("autoscaler", AutoscalerSettings, Autoscaler)
