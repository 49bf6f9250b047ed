// A player: waveform, spectrogram and controls, in place of the browser's own that is shown without JavaScript.

import { attach } from "./regions.js";

const LONG_SECONDS = 90; // beyond, the picture is computed at a lower rate
const nonce = document.querySelector('meta[name="style-nonce"]')?.content;
let vendor;
let latest; // the player that was used last

function libraries() {
  vendor ??= Promise.all([
    import("./vendor/wavesurfer.esm.js"),
    import("./vendor/spectrogram.esm.js"),
    import("./vendor/regions.esm.js"),
  ]).then((found) => found.map((each) => each.default));
  return vendor;
}

export function clock(seconds) {
  const whole = Math.floor(seconds);
  const tenth = Math.floor((seconds - whole) * 10);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}.${tenth}`;
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function channels(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255);
}

// From the card's own colour by way of two others, so that silence is no picture.
function colours() {
  const stops = ["--map-0", "--map-1", "--map-2", "--map-3"].map((name) => channels(colour(name)));
  return Array.from({ length: 256 }, (_, index) => {
    const place = (index / 255) * (stops.length - 1);
    const below = Math.min(Math.floor(place), stops.length - 2);
    const share = place - below;
    return [...stops[below].map((value, n) => value + share * (stops[below + 1][n] - value)), 1];
  });
}

const ICONS = {
  play: "M5 3.5v13l11-6.5z",
  pause: "M5 3.5h3.5v13H5zm6.5 0H15v13h-3.5z",
  loop: "M4 10V8a3 3 0 0 1 3-3h7m-2.5-2.5L14 5l-2.500 2.500M16 10v2a3 3 0 0 1-3 3H6m2.500 2.500L6 15l2.500-2.500",
};

function icon(name) {
  const picture = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  picture.setAttribute("viewBox", "0 0 20 20");
  picture.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", ICONS[name]);
  picture.append(path);
  if (name === "loop") picture.classList.add("line");
  return picture;
}

class Player extends HTMLElement {
  connectedCallback() {
    if (this.built) return; // only moved
    this.built = true;
    this.looping = false;
    this.build();
    this.seen = new IntersectionObserver((entries) => {
      if (entries.some((each) => each.isIntersecting)) {
        this.seen.disconnect();
        this.load();
      }
    }, { rootMargin: "200px" });
    this.seen.observe(this);
  }

  disconnectedCallback() {
    setTimeout(() => {
      if (this.isConnected) return;
      this.seen.disconnect();
      this.surfer?.destroy();
      if (latest === this) latest = undefined;
    });
  }

  get name() {
    return this.getAttribute("name");
  }

  set name(text) {
    this.setAttribute("name", text);
    this.label();
  }

  build() {
    this.picture = document.createElement("div");
    this.picture.className = "picture";
    this.picture.setAttribute("role", "img");
    this.button = document.createElement("button");
    this.button.type = "button";
    this.button.className = "play";
    this.button.append(icon("play"));
    this.button.addEventListener("click", () => this.toggle());
    this.loop = document.createElement("button");
    this.loop.type = "button";
    this.loop.className = "loop";
    this.loop.setAttribute("aria-pressed", "false");
    this.loop.append(icon("loop"));
    this.loop.addEventListener("click", () => this.setLoop(!this.looping));
    this.seek = document.createElement("input");
    this.seek.type = "range";
    this.seek.className = "seek";
    this.seek.min = 0;
    this.seek.step = 0.1;
    this.seek.max = this.getAttribute("seconds") || 0;
    this.seek.value = 0;
    this.seek.addEventListener("input", () => this.surfer?.setTime(Number(this.seek.value)));
    this.time = document.createElement("span");
    this.time.className = "time figure";
    const controls = document.createElement("div");
    controls.className = "controls";
    controls.append(this.button, this.seek, this.time, this.loop);
    this.replaceChildren(this.picture, controls);
    this.label();
    this.tell(0);
  }

  label() {
    if (!this.picture) return;
    this.picture.setAttribute("aria-label", `${this.name}: waveform and spectrogram`);
    this.button.setAttribute("aria-label", `${this.playing ? "Pause" : "Play"} ${this.name}`);
    this.loop.setAttribute("aria-label", `Loop ${this.name}`);
    this.seek.setAttribute("aria-label", `Position in ${this.name}`);
  }

  tell(at) {
    const total = this.surfer?.getDuration() || Number(this.getAttribute("seconds")) || 0;
    this.time.textContent = `${clock(at)} / ${clock(total)}`;
    this.seek.value = at;
    this.seek.setAttribute("aria-valuetext", `${clock(at)} of ${clock(total)}`);
  }

  load() {
    this.loaded ??= this.draw();
    return this.loaded;
  }

  async draw() {
    const [WaveSurfer, Spectrogram, Regions] = await libraries();
    if (!this.isConnected) return;
    const tall = this.hasAttribute("tall");
    const long = (Number(this.getAttribute("seconds")) || this.blob?.size / 40000 || 0) > LONG_SECONDS;
    this.marks = this.hasAttribute("regions") ? Regions.create() : undefined;
    this.surfer = WaveSurfer.create({
      container: this.picture,
      height: tall ? 112 : 56,
      waveColor: colour("--wave"),
      progressColor: colour("--played"),
      cursorColor: colour("--ink"),
      cursorWidth: 1,
      normalize: true,
      barWidth: 2,
      barGap: 1,
      barRadius: 1,
      sampleRate: long ? 16000 : 32000,
      cspNonce: nonce,
      plugins: [
        Spectrogram.create({
          height: tall ? 144 : 72,
          scale: "mel",
          fftSamples: 1024,
          frequencyMax: long ? 8000 : 14000,
          gainDB: 10,
          rangeDB: 70,
          colorMap: colours(),
          rendering: long ? "windowed" : "full",
        }),
        ...(this.marks ? [this.marks] : []),
      ],
    });
    const surfer = this.surfer;
    surfer.on("timeupdate", (at) => this.tell(at));
    surfer.on("play", () => this.changed(true));
    surfer.on("pause", () => this.changed(false));
    surfer.on("finish", () => {
      if (this.looping) surfer.play(this.chosen?.start ?? 0);
    });
    surfer.on("timeupdate", (at) => {
      if (this.looping && this.chosen && surfer.isPlaying() && at >= this.chosen.end) surfer.setTime(this.chosen.start);
    });
    if (this.marks) attach(this, this.marks);
    try {
      await (this.blob ? surfer.loadBlob(this.blob) : surfer.load(this.getAttribute("src")));
      this.seek.max = surfer.getDuration();
      this.tell(0);
      this.dataset.ready = "";
      this.dispatchEvent(new CustomEvent("player-ready", { bubbles: true }));
    } catch {
      if (this.surfer !== surfer) return; // drawn anew meanwhile
      const said = document.createElement("p");
      said.className = "help";
      said.textContent = this.blob
        ? "Your browser cannot show this file; the studio may still be able to read it."
        : "The audio could not be loaded. It may have been deleted.";
      this.picture.replaceChildren(said);
      this.button.disabled = this.loop.disabled = this.seek.disabled = true;
    }
  }

  // The scheme has changed, and with it all colours.
  async redraw() {
    if (!this.surfer) return;
    const [at, volume] = [this.surfer.getCurrentTime(), this.surfer.getVolume()];
    this.surfer.destroy();
    this.picture.replaceChildren();
    this.loaded = this.draw();
    await this.loaded;
    this.surfer.setTime(at);
    this.surfer.setVolume(volume);
  }

  get playing() {
    return Boolean(this.surfer?.isPlaying());
  }

  changed(playing) {
    if (playing) {
      for (const each of document.querySelectorAll("sv-player")) if (each !== this) each.surfer?.pause();
      latest = this;
    }
    this.button.replaceChildren(icon(playing ? "pause" : "play"));
    this.toggleAttribute("playing", playing);
    this.label();
  }

  async toggle() {
    await this.load();
    if (this.playing) this.surfer.pause();
    else await this.surfer.play(this.looping && this.chosen ? this.chosen.start : undefined);
  }

  setLoop(on) {
    this.looping = on;
    this.loop.setAttribute("aria-pressed", String(on));
  }
}

customElements.define("sv-player", Player);

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const each of document.querySelectorAll("sv-player")) each.redraw();
});

export function current() {
  return latest?.isConnected ? latest : document.querySelector("sv-player");
}
