"""The text worker: extractions, template analysis and specialised analyses by a text model.

Owns: the tasks of the pool `text` that it has claimed, its row of processing_servers, its model
server connection. Reads: processing_queue (claim), documents, analysis_templates, result tables of
the document. Writes: processing_queue (claim, progress, settle), processing_progress,
task_checkpoints, task_attempts, result tables. Listens to: task_ready, task_cancel,
server_changed. Wakes nobody itself: the triggers do. May never: write anything about a task
without its lease token, or call another service.

The loop that claims and settles is reveille.worker; here are the handlers, one module per kind of
task.
"""
