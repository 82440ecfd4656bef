// Elements are made of text alone: nothing that a record says is ever read as markup.
function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function drawn(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function read(id) {
  return JSON.parse(document.getElementById(id).textContent);
}

// A table of plain texts; the columns named in `texts` are aligned to the left, those with nothing in any row left out.
function plainTable(headings, rows, { texts = [], caption = "" } = {}) {
  const kept = headings.map((_, i) => i).filter((i) => !i || !rows.length || rows.some((row) => row[i] !== "-"));
  const kind = (i) => (texts.includes(i) ? "text" : "");
  const table = element("table", {},
    element("thead", {}, element("tr", {}, ...kept.map((i) => element("th", { scope: "col", className: kind(i) }, headings[i])))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...kept.map((i) =>
      element(i ? "td" : "th", i ? { className: kind(i) } : { scope: "row", className: kind(i) }, row[i]))))));
  if (caption) table.prepend(element("caption", {}, caption));
  return element("div", { className: "scroll", tabIndex: 0 }, table);
}

// A text that packing.py packed into the page.
async function unpacked(id) {
  const letters = atob(document.getElementById(id).textContent), bytes = new Uint8Array(letters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = letters.charCodeAt(i);
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).text();
}

// A module packed into the page, which may import no file beside it.
async function load(id) {
  const address = URL.createObjectURL(new Blob([await unpacked(id)], { type: "text/javascript" }));
  try {
    return await import(address);
  } finally {
    URL.revokeObjectURL(address);
  }
}

let content = JSON.parse(await unpacked("content"));
