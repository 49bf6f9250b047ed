// What the pages do beyond htmx: players, forms, keys, and words for those who cannot see what changes.

import "./player.js";
import { current } from "./player.js";
import * as blind from "./blind.js";
import * as editing from "./editing.js";
import * as forms from "./forms.js";
import * as uploads from "./uploads.js";

document.documentElement.classList.add("scripted");

const states = new Map();

function announce(text) {
  document.getElementById("announcer").textContent = text;
}

function follow() {
  for (const each of document.querySelectorAll("[data-job][data-state]")) {
    const { job, state } = each.dataset;
    const before = states.get(job);
    states.set(job, state);
    if (before === state || (before === undefined && state !== "queued")) continue;
    const name = each.querySelector("h2, th")?.textContent.trim() ?? "Job";
    if (state === "queued") announce(`${name}: waiting.`);
    if (state === "done") announce(`${name}: done.`);
    if (state === "failed") announce(`${name}: failed.`);
    if (state === "cancelled") announce(`${name}: cancelled.`);
  }
}

function localTimes(root) {
  const form = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
  for (const each of root.querySelectorAll("time[datetime]:not([data-local])")) {
    each.dataset.local = "";
    each.textContent = form.format(new Date(each.dateTime));
  }
}

function prepare() {
  forms.prepare(document);
  editing.prepare(document);
  uploads.prepare(document);
  blind.prepare();
  localTimes(document);
  follow();
}

const keys = document.getElementById("keys");
keys.checked = localStorage.getItem("keys") !== "off";
keys.addEventListener("change", () => localStorage.setItem("keys", keys.checked ? "on" : "off"));

const typing = "input:not([type=checkbox]):not([type=range]), select, textarea, [contenteditable]";

document.addEventListener("keydown", (event) => {
  if (!keys.checked || event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.(typing)) return;
  if (event.key === " ") {
    if (event.target.closest?.("button, a, summary, input")) return;
    event.preventDefault();
    current()?.toggle();
  } else if (event.key === "b" || event.key === "B") {
    document.querySelector("[data-switch]:not([hidden])")?.click();
  } else if (event.key === "l" || event.key === "L") {
    const player = current();
    player?.setLoop(!player.looping);
  } else if (/^[1-9]$/.test(event.key)) {
    const takes = [...document.querySelectorAll("[data-take] sv-player")].filter((each) => each.checkVisibility());
    takes[Number(event.key) - 1]?.toggle();
  }
});

document.addEventListener("htmx:after:swap", () => setTimeout(prepare));
document.addEventListener("htmx:error", (event) => {
  if (event.detail?.ctx?.sourceElement?.matches?.("form")) {
    uploads.problem("The studio does not answer. Is it still running?");
  }
});
prepare();
