// Comparing blind: all takes in random order under other names, until they are revealed.

import { match } from "./loudness.js";

const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

function shuffled(all) {
  const found = [...all];
  for (let last = found.length - 1; last > 0; last--) {
    const other = crypto.getRandomValues(new Uint32Array(1))[0] % (last + 1);
    [found[last], found[other]] = [found[other], found[last]];
  }
  return found;
}

function rename(take, name) {
  take.querySelector("h3").textContent = name;
  take.querySelector("sv-player").name = name;
}

export function prepare() {
  const bar = document.getElementById("blind-bar");
  if (!bar) return;
  bar.hidden = document.querySelectorAll("[data-take]").length < 2;
  if (bar.dataset.linked) return;
  bar.dataset.linked = "yes";
  const button = bar.querySelector("[data-blind]");
  const said = bar.querySelector("[data-blind-said]");
  const place = document.getElementById("blind");
  const jobs = document.getElementById("jobs");
  const homes = new Map();

  function hide() {
    for (const each of document.querySelectorAll("sv-player")) each.surfer?.stop();
    for (const take of document.querySelectorAll("#jobs [data-take]")) homes.set(take, take.parentElement);
    shuffled(homes.keys()).forEach((take, index) => {
      place.append(take);
      rename(take, LETTERS[index] ?? `No. ${index + 1}`);
    });
    place.className = "takes blind";
    place.hidden = false;
    jobs.hidden = true;
    button.textContent = "Reveal";
    said.textContent = "Names are hidden, the order is random, and all are equally loud.";
    match([...place.querySelectorAll("sv-player")]);
  }

  function reveal() {
    for (const take of place.children) {
      const heading = homes.get(take).closest("section").querySelector("h2").textContent;
      const hidden = take.querySelector("h3").textContent;
      rename(take, `${hidden}: ${heading}, ${take.querySelector("h3").dataset.name.toLowerCase()}`);
    }
    place.className = "takes";
    button.textContent = "Back to the list";
    said.textContent = "Revealed.";
  }

  function back() {
    for (const [take, home] of homes) {
      take.querySelector("sv-player").surfer?.setVolume(1);
      home.append(take);
      rename(take, take.querySelector("h3").dataset.name);
    }
    homes.clear();
    place.hidden = true;
    jobs.hidden = false;
    button.textContent = "Compare blind";
    said.textContent = "";
  }

  button.addEventListener("click", () => {
    const now = place.hidden ? hide : place.classList.contains("blind") ? reveal : back;
    now();
    button.setAttribute("aria-pressed", String(now === hide));
    document.getElementById("announcer").textContent = said.textContent;
  });
}
