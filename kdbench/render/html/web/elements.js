// Build elements from text alone: nothing in a record is ever parsed as markup.
function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

function drawn(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function read(id) {
  return JSON.parse(document.getElementById(id).textContent);
}

// Build a table of plain texts; the columns in `texts` are left-aligned, columns without a value in any row left out.
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

// Unpack a text that `packed` of page.py put into the page.
async function unpacked(id) {
  const binary = atob(document.getElementById(id).textContent), bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).text();
}

// Import a module packed into the page; it must not import other files.
async function load(id) {
  const address = URL.createObjectURL(new Blob([await unpacked(id)], { type: "text/javascript" }));
  try {
    return await import(address);
  } finally {
    URL.revokeObjectURL(address);
  }
}

let content = JSON.parse(await unpacked("content"));
