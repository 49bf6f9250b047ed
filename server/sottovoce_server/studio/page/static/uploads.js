// Several files: each is sent by itself, so that one that is refused stops no other.

const wait = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));

export function problem(text) {
  const place = document.getElementById("problem");
  if (!place) return;
  const box = document.createElement("div");
  box.className = "problem";
  box.setAttribute("role", "alert");
  const line = document.createElement("p");
  line.textContent = text;
  box.append(line);
  place.append(box);
}

function refusal(html) {
  const found = new DOMParser().parseFromString(html, "text/html").querySelectorAll(".problem p");
  return [...found].map((each) => each.textContent).join(" ") || "The studio refused it.";
}

async function send(form, file) {
  const body = new FormData(form);
  body.set("file", file);
  for (;;) {
    const answer = await fetch(form.action, { method: "POST", body, headers: { "HX-Request": "true" } });
    const pause = Number(answer.headers.get("Retry-After"));
    if (answer.status !== 429 || !(pause > 0 && pause <= 60)) return answer;
    await wait(pause);
  }
}

async function sendAll(form, files) {
  const button = form.querySelector("button.main");
  const name = button.textContent;
  const place = document.getElementById("problem");
  place.replaceChildren();
  button.disabled = true;
  for (const [index, file] of files.entries()) {
    button.textContent = `Sending ${index + 1} of ${files.length}`;
    try {
      const answer = await send(form, file);
      if (answer.headers.get("HX-Redirect")) location.href = answer.headers.get("HX-Redirect");
      else if (!answer.ok) problem(`${file.name}: ${refusal(await answer.text())}`);
    } catch {
      problem(`${file.name}: the studio does not answer.`);
    }
    window.htmx.ajax("GET", "/recognise/rows", { target: "#rows", swap: "outerMorph" });
  }
  button.disabled = false;
  button.textContent = name;
  form.querySelector("input[name=file]").value = "";
}

export function prepare(root) {
  const form = root.querySelector('form[action="/recognise"]:not([data-linked])');
  if (!form) return;
  form.dataset.linked = "yes";
  form.addEventListener(
    "submit",
    (event) => {
      const files = [...form.querySelector("input[name=file]").files];
      if (files.length < 2) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      sendAll(form, files);
    },
    { capture: true },
  );
}
