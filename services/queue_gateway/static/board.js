// Live refresh: an event stream says that something changed, the page fetches its own HTML and swaps its content.
"use strict";

const REFRESH_MS = 1000; // at most once a second, however much happens
const label = document.getElementById("live");
let due = null;
let dirty = false;
let source = null;

async function refresh() {
  due = null;
  if (!dirty || document.hidden) return;
  if (document.activeElement && document.activeElement.closest("form")) { due = setTimeout(refresh, REFRESH_MS); return; } // not under a typing hand
  dirty = false;
  const response = await fetch(location.pathname + location.search, { headers: { Accept: "text/html" } });
  if (!response.ok) return;
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  const next = fresh.getElementById("content");
  const current = document.getElementById("content");
  if (!next || !current) return;
  const open = [...current.querySelectorAll("details")].map((part) => part.open);
  const focused = document.activeElement && document.activeElement.getAttribute("href");
  current.replaceChildren(...next.childNodes);
  current.querySelectorAll("details").forEach((part, at) => { if (at in open) part.open = open[at]; });
  if (focused) {
    const again = [...current.querySelectorAll("a")].find((link) => link.getAttribute("href") === focused);
    if (again) again.focus();
  }
}

function changed() {
  dirty = true;
  if (due === null) due = setTimeout(refresh, REFRESH_MS);
}

function follow(url) {
  source = new EventSource(url);
  source.addEventListener("open", () => { label.textContent = "live"; });
  source.addEventListener("error", () => { label.textContent = "reconnecting"; });
  source.addEventListener("task", changed);
  source.addEventListener("end", () => { source.close(); label.textContent = ""; changed(); });
}

const url = document.getElementById("content").dataset.events;
if (url) follow(url);
document.addEventListener("visibilitychange", () => { if (!document.hidden && dirty) changed(); });
