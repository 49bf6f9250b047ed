// Forms: sliders beside numbers, texts of several numbers, files that are dropped.

const PARTS = {
  START: "start",
  END: "end",
  FREQ: "Hz",
  GAIN: "dB",
  Q: "Q",
  THRESHOLD: "dB",
  RATIO: "ratio",
};
const AUDIO = /\.(wav|flac|mp3|ogg|oga|opus|m4a|aif|aiff)$/i;

function link(slider) {
  const field = document.getElementById(slider.dataset.slider);
  const rest = slider.dataset.rest;
  slider.addEventListener("input", () => {
    const still = Number(slider.value) === Number(rest);
    field.value = still && field.defaultValue === "" ? "" : slider.value;
  });
  const follow = () => (slider.value = field.value === "" ? rest : field.value);
  field.addEventListener("input", follow);
  field.form.addEventListener("reset", () => setTimeout(follow));
}

// A text such as START:END becomes one field for each of its parts.
function split(text) {
  const parts = text.dataset.form.replace(/[[\]]/g, "").split(":");
  const row = document.createElement("div");
  row.className = "parts";
  const values = text.value.split(":");
  const fields = parts.map((part, index) => {
    const field = document.createElement("input");
    field.type = "number";
    field.step = "any";
    field.inputMode = "decimal";
    field.placeholder = PARTS[part] ?? part.toLowerCase();
    field.value = values[index] ?? "";
    field.setAttribute("aria-label", `${text.dataset.label}: ${PARTS[part] ?? part.toLowerCase()}`);
    field.setAttribute("aria-describedby", text.getAttribute("aria-describedby"));
    field.addEventListener("input", write);
    return field;
  });
  function write() {
    const all = fields.map((each) => each.value);
    while (all.length && all.at(-1) === "" && text.dataset.form !== "START:END") all.pop();
    text.value = all.every((each) => each === "") ? "" : all.join(":");
  }
  row.put = (found) => {
    fields.forEach((each, index) => (each.value = found[index] ?? ""));
    write();
  };
  row.empty = () => text.value === "";
  row.dataset.parts = text.name;
  if (text.id) {
    fields[0].id = text.id;
    text.removeAttribute("id");
  }
  text.type = "hidden";
  text.after(row);
  row.append(text, ...fields);
  if (text.dataset.several !== undefined) row.append(another(row));
}

function another(row) {
  const more = document.createElement("button");
  more.type = "button";
  more.className = "quiet more";
  more.textContent = "+";
  more.setAttribute("aria-label", `Another: ${row.querySelector("[data-label]").dataset.label}`);
  more.addEventListener("click", () => add(row)?.querySelector("input:not([type=hidden])").focus());
  return more;
}

function add(row) {
  const text = row.querySelector("input[type=hidden]").cloneNode();
  text.type = "text";
  text.value = "";
  const last = [...row.parentElement.querySelectorAll("[data-parts]")].at(-1);
  last.after(text);
  split(text);
  const made = last.nextElementSibling;
  made.querySelector(".more").remove();
  return made;
}

// Put numbers into the form's field, or into a further one if it may have several.
export function put(name, values) {
  const rows = [...document.querySelectorAll(`[data-parts="${name}"]`)];
  if (!rows.length) return;
  const several = rows[0].querySelector("[data-several]");
  const free = rows.find((each) => each.empty()) ?? (several ? add(rows[0]) : rows[0]);
  free.put(values);
  free.closest("details")?.setAttribute("open", "");
  free.scrollIntoView({ block: "nearest", behavior: "smooth" });
  free.classList.add("just");
  setTimeout(() => free.classList.remove("just"), 1200);
}

async function within(entry) {
  if (entry.isFile) return [await new Promise((done, failed) => entry.file(done, failed))];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (!some.length) return (await Promise.all(found.map(within))).flat();
    found.push(...some);
  }
}

function droppable(zone) {
  const field = zone.querySelector("input[name=file]");
  const several = field.dataset.several !== undefined;
  const form = field.form;
  if (several) field.multiple = true;
  zone.addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", async (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    const entries = [...event.dataTransfer.items].map((each) => each.webkitGetAsEntry?.()).filter(Boolean);
    const folder = entries.some((each) => each.isDirectory);
    const files = folder ? (await Promise.all(entries.map(within))).flat() : [...event.dataTransfer.files];
    choose(folder ? files.filter((each) => AUDIO.test(each.name)) : files);
  });
  const chosenFolder = zone.querySelector("[data-folder-input]");
  zone.querySelector("[data-folder]")?.addEventListener("click", () => chosenFolder.click());
  chosenFolder?.addEventListener("change", () =>
    choose([...chosenFolder.files].filter((each) => AUDIO.test(each.name))),
  );
  function choose(files) {
    const transfer = new DataTransfer();
    for (const each of several ? files : files.slice(0, 1)) transfer.items.add(each);
    field.files = transfer.files;
    field.dispatchEvent(new Event("change", { bubbles: true }));
    if (files.length && form.dataset.submitOnDrop !== undefined) form.requestSubmit();
  }
}

export function prepare(root) {
  for (const each of root.querySelectorAll("[data-slider]:not([data-linked])")) {
    each.dataset.linked = "";
    link(each);
  }
  for (const each of root.querySelectorAll('input[type=text][data-form*=":"]')) split(each);
  for (const each of root.querySelectorAll("[data-drop]:not([data-linked])")) {
    each.dataset.linked = "";
    droppable(each);
  }
}
