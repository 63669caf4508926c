"""`python -m visual_worker` runs one visual worker; `--print-settings` shows its settings."""

from reveille.lifecycle import main
from visual_worker.config import VisualWorkerSettings
from visual_worker.service import build

if __name__ == "__main__":
    main("visual-worker", VisualWorkerSettings, build)
