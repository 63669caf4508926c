// The docs page's "Send": build the request from the form, show what comes back.
"use strict";

const SHOWN_MAX = 20000; // characters of an answer
const bearer = document.getElementById("bearer");
bearer.value = sessionStorage.getItem("token") || "";
bearer.addEventListener("change", () => sessionStorage.setItem("token", bearer.value));

function request(form) {
  let path = form.dataset.path;
  const query = new URLSearchParams();
  for (const input of form.querySelectorAll("input[data-in]")) {
    if (input.dataset.in === "path") path = path.replace(`{${input.name}}`, encodeURIComponent(input.value));
    else if (input.value) query.set(input.name, input.value);
  }
  const headers = bearer.value ? { Authorization: `Bearer ${bearer.value}` } : {};
  const options = { method: form.dataset.method, headers };
  if (form.elements.body) {
    headers["Content-Type"] = "application/json";
    options.body = form.elements.body.value;
  } else if (form.elements.file && form.elements.file.files.length) {
    options.body = new FormData();
    options.body.append("file", form.elements.file.files[0]);
  }
  const text = query.toString();
  return [text ? `${path}?${text}` : path, options];
}

async function show(response, answer) {
  answer.hidden = false;
  answer.textContent = `${response.status} ${response.statusText}\n`;
  const kind = response.headers.get("Content-Type") || "";
  if (kind.includes("json")) {
    answer.textContent += JSON.stringify(await response.json(), null, 2).slice(0, SHOWN_MAX);
  } else if (kind.includes("event-stream")) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done || answer.textContent.length > SHOWN_MAX) break;
      answer.textContent += value;
    }
    await reader.cancel();
  } else {
    answer.textContent += `${(await response.blob()).size} bytes`;
  }
}

for (const form of document.querySelectorAll("form[data-path]")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const answer = form.querySelector(".answer");
    try {
      const [path, options] = request(form);
      await show(await fetch(path, options), answer);
    } catch (error) {
      answer.hidden = false;
      answer.textContent = String(error);
    }
  });
}
