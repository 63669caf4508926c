"""The handlers of the pool `visual`, by task type."""

from reveille.task_types.handling import Handler
from visual_worker.handlers import slide_feedback, visual_analysis

HANDLERS: dict[str, Handler] = {
    "visual_analysis": visual_analysis.handle,
    "slide_feedback": slide_feedback.handle,
}
