"""The board: server-rendered pages over the same reads as the API, and forms over its handlers.

`site` lists the pages; `door` lets visitors in and forms through; `actions` and `uploads` are the
forms. The rest is one module per noun. What decides or draws (`charts`, `graph`, `marks`,
`phases`, `timeline`) is pure. Every page is whole without JavaScript; with it, an event stream says
when a page's content is to be fetched anew.
"""
