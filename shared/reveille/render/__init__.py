"""PDF pages as images and text, made in a process of their own.

PDFs come from strangers and MuPDF is a large C library, so no PDF is ever parsed inside a worker.
One child process per document reads it (`child`), under limits on memory, time, pages and pixels,
without the worker's environment, and without the right to open a file once the PDF is loaded. What
comes back are length-prefixed frames of JSON and image bytes (`frames`), never pickles. The
worker's side of the pipe is `process` (life and death of the child) and `document` (the API that
handlers use); `visibility` decides which text a reader of the slide can see.

Only `child`, `visibility` and `findings` import PyMuPDF, and only the child imports those. This
file imports nothing, because the child's start-up time is part of every task.
"""
