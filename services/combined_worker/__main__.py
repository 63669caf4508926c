"""`python -m combined_worker` runs one combined worker; `--print-settings` shows its settings."""

from combined_worker.config import CombinedWorkerSettings
from combined_worker.service import build
from reveille.lifecycle import main

if __name__ == "__main__":
    main("combined-worker", CombinedWorkerSettings, build)
