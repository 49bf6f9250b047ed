// Editing: the file that was dropped, and before and after at the same loudness.

import { match } from "./loudness.js";

const originals = new Map(); // files that were uploaded, by the job that edited them: the studio has deleted its copy
let sent;

export function prepare(root) {
  const form = root.querySelector("[data-edit]") ?? (root.matches?.("[data-edit]") ? root : null);
  const field = form?.querySelector("input[name=file]");
  if (field && !field.dataset.previews) {
    field.dataset.previews = "yes";
    field.addEventListener("change", () => preview(field.files[0]));
  }
  const pair = root.querySelector("[data-ab]");
  if (pair && !pair.dataset.ready) compare(pair);
}

function preview(file) {
  const place = document.getElementById("preview");
  place.replaceChildren();
  if (!file) return;
  const player = document.createElement("sv-player");
  player.blob = file;
  player.setAttribute("name", file.name);
  player.setAttribute("regions", "");
  player.setAttribute("tall", "");
  const title = document.createElement("h2");
  title.textContent = file.name;
  const card = document.createElement("article");
  card.className = "take current";
  card.append(title, player);
  place.append(card);
}

document.addEventListener("htmx:before:request", (event) => {
  const form = event.target.closest?.("[data-edit]");
  if (form) sent = form.querySelector("input[name=file]")?.files[0];
});

document.addEventListener("htmx:after:swap", () => {
  const job = document.querySelector("#working [data-job]")?.dataset.job;
  if (job && sent) {
    originals.set(job, sent);
    sent = undefined;
  }
});

function compare(pair) {
  pair.dataset.ready = "yes";
  const after = pair.querySelector("[data-after] sv-player");
  const article = pair.querySelector("[data-before]");
  if (!article) return;
  const original = originals.get(article.dataset.job);
  if (!article.querySelector("sv-player") && original) {
    const player = document.createElement("sv-player");
    player.blob = original;
    player.setAttribute("name", "Before");
    article.append(player);
    article.hidden = false;
    pair.querySelector(".bar [data-switch]").after(undo(original));
  }
  const before = article.querySelector("sv-player");
  if (!before) return;
  const button = pair.querySelector("[data-switch]");
  const said = pair.querySelector("[data-ab-said]");
  button.hidden = false;
  button.addEventListener("click", () => change(before, after, article, button));
  match([before, after]).then((levels) => {
    if (!levels) return;
    const apart = levels[1] - levels[0];
    said.textContent = Number.isFinite(apart)
      ? `Played at the same loudness; after is ${Math.abs(apart).toFixed(1)} dB ${apart < 0 ? "quieter" : "louder"} in the file.`
      : "";
    pair.dataset.matched = "yes";
  });
}

// The first edit of a file that was dropped: back to the file as it was.
function undo(original) {
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.undo = "";
  button.textContent = "Undo";
  button.addEventListener("click", async () => {
    await window.htmx.ajax("GET", "/edit", { target: "#bench", swap: "outerHTML" });
    history.replaceState(history.state, "", "/edit");
    const field = document.querySelector("[data-edit] input[name=file]");
    const transfer = new DataTransfer();
    transfer.items.add(original);
    field.files = transfer.files;
    preview(original);
  });
  return button;
}

function change(before, after, article, button) {
  const hearing = button.dataset.hearing === "before" ? before : after;
  const other = hearing === before ? after : before;
  const start = Number(article.dataset.trim.split(":")[0]) || 0;
  const tempo = Number(article.dataset.stretch) || 1;
  const at = hearing.surfer?.getCurrentTime() ?? 0;
  const there = other === before ? start + at / tempo : Math.max(0, (at - start) * tempo);
  const playing = hearing.playing;
  hearing.surfer?.pause();
  other.surfer?.setTime(Math.min(there, other.surfer.getDuration()));
  if (playing) other.surfer?.play();
  button.dataset.hearing = other === before ? "before" : "after";
  button.firstChild.textContent = other === before ? "Hear after " : "Hear before ";
  for (const each of [before, after]) each.closest("article").classList.toggle("current", each === other);
}
