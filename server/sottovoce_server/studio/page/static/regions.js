// A part of a piece: chosen by dragging or by typing, then repaired, kept alone, or looped.

import { put } from "./forms.js";

const round = (seconds) => Math.round(seconds * 1000) / 1000;

function button(text, act) {
  const found = document.createElement("button");
  found.type = "button";
  found.className = "quiet";
  found.textContent = text;
  found.addEventListener("click", act);
  return found;
}

function number(name, changed) {
  const label = document.createElement("label");
  label.textContent = name;
  const field = document.createElement("input");
  field.type = "number";
  field.min = 0;
  field.step = "any";
  field.inputMode = "decimal";
  field.addEventListener("change", changed);
  label.append(" ", field);
  return [label, field];
}

export function attach(player, marks) {
  const bar = document.createElement("div");
  bar.className = "selection";
  bar.setAttribute("role", "group");
  bar.setAttribute("aria-label", "Chosen part, in seconds");
  const [fromLabel, from] = number("From", typed);
  const [toLabel, to] = number("to", typed);
  const buttons = [
    button("Repair", () => put("repair", [from.value, to.value])),
    button("Keep only this", () => put("trim", [from.value, to.value])),
    button("Play it", () => {
      player.setLoop(true);
      player.surfer.play(player.chosen.start);
    }),
    button("Clear", () => marks.clearRegions()),
  ];
  bar.append(fromLabel, toLabel, ...buttons);
  player.querySelector(".selection")?.remove();
  player.append(bar);

  function show() {
    for (const each of buttons) each.disabled = !player.chosen;
  }

  function typed() {
    const [start, end] = [Number(from.value), Number(to.value)];
    if (from.value === "" || to.value === "" || !(end > start)) return;
    marks.clearRegions();
    [from.value, to.value] = [start, end];
    marks.addRegion({ start, end, color: tint() });
  }

  function tint() {
    return getComputedStyle(document.documentElement).getPropertyValue("--part").trim();
  }

  function chosen(region) {
    player.chosen = { start: region.start, end: region.end };
    from.value = round(region.start);
    to.value = round(region.end);
    show();
  }

  player.surfer.on("ready", () => marks.enableDragSelection({ color: tint() }));
  marks.on("region-created", (region) => {
    for (const each of marks.getRegions()) if (each !== region) each.remove();
    chosen(region);
  });
  marks.on("region-update", chosen);
  marks.on("region-updated", chosen);
  marks.on("region-removed", () => {
    if (marks.getRegions().length) return;
    player.chosen = undefined;
    from.value = to.value = "";
    show();
  });
  show();
}
