// Keeps a page as fresh as its rows. An event stream says that something changed; the page then fetches its own HTML and takes over
// what differs, node by node: what the reader has opened, ticked, focused or scrolled stays as it is, and nothing jumps.
"use strict";

const PAUSE_MS = 400; // between two refreshes, however much happens
// What a form did is told to a page that is opened, not to a script that reads one.
const BY_SCRIPT = { "Reveille-Script": "1" };
const AGAIN_MS = 3000; // between two attempts at the event stream
const content = document.getElementById("content");
const label = document.getElementById("live");
document.documentElement.classList.add("js");

// Taking over

const OWN = new Set(["open", "checked"]); // what the reader decides

function sameNode(old, next) {
  return old.nodeType === next.nodeType && old.nodeName === next.nodeName && (old.id || "") === (next.id || "");
}

function takeAttributes(old, next) {
  for (const { name, value } of [...next.attributes]) if (!OWN.has(name) && old.getAttribute(name) !== value) old.setAttribute(name, value);
  for (const { name } of [...old.attributes]) if (!OWN.has(name) && !next.hasAttribute(name)) old.removeAttribute(name);
}

function take(old, next) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== next.nodeValue) old.nodeValue = next.nodeValue;
    return;
  }
  if (old.matches("input, select, textarea, [popover]:popover-open")) return;
  takeAttributes(old, next);
  const known = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
  let at = old.firstChild;
  for (const wanted of [...next.childNodes]) {
    const moved = wanted.id && known.get(wanted.id);
    if (moved && moved !== at) old.insertBefore(moved, at);
    const here = moved || at;
    if (here && sameNode(here, wanted)) {
      take(here, wanted);
      at = here.nextSibling;
    } else {
      old.insertBefore(document.importNode(wanted, true), at);
    }
  }
  while (at) {
    const after = at.nextSibling;
    at.remove();
    at = after;
  }
}

// Refreshing

let due = null;
let dirty = false;

async function refresh() {
  due = null;
  if (!dirty || document.hidden) return;
  dirty = false;
  try {
    const response = await fetch(location.pathname + location.search, { headers: BY_SCRIPT });
    if (response.redirected) return location.reload(); // logged out meanwhile
    if (!response.ok) return;
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    const next = fresh.getElementById("content");
    if (next) take(content, next);
    content.dispatchEvent(new Event("refreshed"));
  } catch {
    changed(); // the server is away: again, when the stream is back
  }
}

function changed() {
  dirty = true;
  if (due === null) due = setTimeout(refresh, PAUSE_MS);
}

function say(word, on) {
  label.textContent = word;
  label.classList.toggle("on", on);
}

function follow(url, missed = false) {
  const source = new EventSource(url);
  source.addEventListener("open", () => say("live", true));
  source.addEventListener("error", () => {
    missed = true;
    say("reconnecting", false);
    // A browser tries again by itself, but not after an answer such as a proxy's 502.
    if (source.readyState === EventSource.CLOSED) setTimeout(() => follow(url, true), AGAIN_MS);
  });
  source.addEventListener("snapshot", () => { if (missed) changed(); missed = false; });
  source.addEventListener("task", changed);
  source.addEventListener("end", () => { source.close(); say("", false); changed(); });
  addEventListener("pagehide", () => source.close());
}

const { events, every } = content.dataset;
if (events) {
  follow(events);
  changed(); // what happened between the page and the stream
  // Charts and heartbeats move though no task does.
  setInterval(changed, 1000 * Number(every || 15));
}
document.addEventListener("visibilitychange", () => { if (!document.hidden && dirty) changed(); });

// How long ago: as `ago` in words.py, by the database's clock as the page came with it

const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
let ahead_ms = 0; // of the database's clock

function ago(seconds) {
  const distance = Math.abs(seconds);
  if (distance < 1) return "just now";
  const [size, unit] = UNITS.find(([size]) => distance >= size);
  const rough = `${Math.floor(distance / size)} ${unit}`;
  return seconds > 0 ? `${rough} ago` : `in ${rough}`;
}

function age() {
  for (const small of content.querySelectorAll(".ago")) {
    const word = ago((Date.now() - ahead_ms - Date.parse(small.parentElement.dateTime)) / 1000);
    if (small.textContent !== word) small.textContent = word;
  }
}

function setClock() {
  if (content.dataset.now) ahead_ms = Date.now() - Date.parse(content.dataset.now);
}

setClock();
content.addEventListener("refreshed", setClock);
setInterval(() => { if (!document.hidden) age(); }, 1000);

// Choosing tasks

function chosen() {
  const boxes = [...document.querySelectorAll("input[form=bulk]")];
  const count = boxes.filter((box) => box.checked).length;
  const said = document.getElementById("chosen");
  if (said) said.textContent = count ? `${count} chosen` : "";
  return boxes;
}

content.addEventListener("change", (event) => {
  if (event.target.id === "choose-all") chosen().forEach((box) => { box.checked = event.target.checked; });
  chosen();
});
content.addEventListener("refreshed", chosen);

// Dropping decks

function send(form, file) {
  const body = new FormData();
  body.append("proof", form.elements.proof.value);
  body.append("file", file);
  const bar = document.getElementById("uploading");
  bar.hidden = false;
  return new Promise((done) => {
    const request = new XMLHttpRequest();
    request.upload.addEventListener("progress", (event) => { if (event.lengthComputable) bar.value = (100 * event.loaded) / event.total; });
    request.addEventListener("loadend", () => done(new URL(request.responseURL || "/documents", location).pathname));
    request.open("POST", form.action);
    for (const [name, value] of Object.entries(BY_SCRIPT)) request.setRequestHeader(name, value);
    request.send(body);
  });
}

async function upload(files) {
  const form = document.getElementById("upload");
  let last = "/documents";
  for (const file of files) {
    last = await send(form, file);
    if (last === "/documents") break; // refused: that page says why
  }
  location.assign(files.length > 1 ? "/documents" : last);
}

if (document.getElementById("upload")) {
  const hasFiles = (event) => event.dataTransfer && [...event.dataTransfer.types].includes("Files");
  addEventListener("dragover", (event) => { if (hasFiles(event)) { event.preventDefault(); document.body.classList.add("dropping"); } });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("dropping"); });
  addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    document.body.classList.remove("dropping");
    if (event.dataTransfer.files.length) upload([...event.dataTransfer.files]);
  });
}
