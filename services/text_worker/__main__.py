"""`python -m text_worker` runs one text worker; `--print-settings` shows its settings."""

from reveille.lifecycle import main
from text_worker.config import TextWorkerSettings
from text_worker.service import build

if __name__ == "__main__":
    main("text-worker", TextWorkerSettings, build)
