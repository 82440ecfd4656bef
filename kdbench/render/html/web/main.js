// Keep the user's choices and draw the page accordingly.
const chosen = { task: null, columns: new Map(), familiesOff: new Set() };
const isShown = (column) => chosen.columns.get(column.name) ?? column.isShownFirst;
const tabs = document.getElementById("tabs");
const search = document.getElementById("search");

function show(task) {
  chosen.task = task;
  for (const tab of tabs.children) {
    const selected = tab.value === (task?.name ?? "");
    tab.setAttribute("aria-selected", selected);
    tab.tabIndex = selected ? 0 : -1;
    if (selected) document.getElementById("panel").setAttribute("aria-labelledby", tab.id);
  }
  document.getElementById("about").textContent = task ? task.about : "Scores of every strategy on every task. Average rank: the rank by score, averaged over the tasks, of strategies with a score on each. Normalized mean: 0 is always predicting the most frequent label, 100 the teacher.";
  document.getElementById("latency").textContent = task ? `${content.notes} Latency: ${task.latency}` : content.notes;
  document.getElementById("facts").replaceChildren(...content.facts.flatMap(([name, text]) => [element("dt", {}, name), element("dd", {}, text)]));
  document.getElementById("command").textContent = content.command;
  document.getElementById("drawing").hidden = !task;
  document.getElementById("columns").hidden = !task;
  if (task) taskTable(content.rows.filter((row) => row.task === task.name));
  else overviewTable(content.overview, content.tasks);
  table.search.fixed("families", (text, row) => !chosen.familiesOff.has(row.family));
  filter();
}

function filter() {
  if (!table) return; // the theme was changed before the table was built
  table.search(search.value).draw();
  const rows = table.rows({ search: "applied" }).data().toArray();
  document.getElementById("count").textContent = `${rows.length} of ${table.rows().count()} rows`;
  if (chosen.task) drawPicture(chosen.task, rows);
}

// The initial tab: null is that of all tasks.
const firstTask = () => (content.tasks.length > 1 ? null : content.tasks[0] ?? null);

function makeTabs() {
  const all = content.tasks.length > 1 ? [null] : [];
  tabs.replaceChildren(...[...all, ...content.tasks].map((task, i) => {
    const tab = element("button", { type: "button", role: "tab", id: `tab-${i}`, value: task?.name ?? "" }, task?.name ?? "All tasks");
    tab.setAttribute("aria-controls", "panel");
    tab.addEventListener("click", () => show(task));
    return tab;
  }));
}

function listenToTabs() {
  tabs.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const all = [...tabs.children];
    const next = all[(all.indexOf(document.activeElement) + step + all.length) % all.length];
    next.focus();
    next.click();
  });
}

function checkbox(label, checked, changed, ...before) {
  const box = element("input", { type: "checkbox", checked });
  box.addEventListener("change", () => changed(box.checked));
  return element("label", {}, box, " ", ...before, label);
}

function toggle(set, name, on) {
  if (on) set.add(name);
  else set.delete(name);
}

// The markers of the plot as SVG paths, for the list of families.
const SHAPES = {
  "circle": "M5 1a4 4 0 1 0 .001 0z", "square": "M1 1h8v8h-8z", "diamond": "M5 0l4 5l-4 5l-4 -5z",
  "triangle-up": "M5 1l4.5 8h-9z", "triangle-down": "M5 9l4.5 -8h-9z", "triangle-left": "M1 5l8 -4.5v9z",
  "triangle-right": "M9 5l-8 -4.5v9z", "cross": "M3.5 0h3v3.5h3.5v3h-3.5v3.5h-3v-3.5h-3.5v-3h3.5z",
};

function makeChoices() {
  document.getElementById("families").replaceChildren(element("legend", {}, "Families"), ...content.families.map(([name, colour, shape]) =>
    checkbox(name, !chosen.familiesOff.has(name), (on) => { toggle(chosen.familiesOff, name, !on); filter(); },
      drawn("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" }, drawn("path", { d: SHAPES[shape], fill: colour })), " ")));
  document.querySelector("#columns div").replaceChildren(...content.columns.map((column, i) =>
    checkbox(column.heading, isShown(column), (on) => { chosen.columns.set(column.name, on); table.column(i + 1).visible(on); })));
  costChoice.replaceChildren(...content.costs.map(([, title]) => element("option", {}, title)));
}

function listenToChoices() {
  costChoice.addEventListener("change", filter);
  search.addEventListener("input", filter);
}

// The positions of names in the plot depend on its width: redraw it when the window is resized.
function listenToWidth() {
  let width = innerWidth, soon = 0;
  addEventListener("resize", () => {
    if (innerWidth === width) return; // a phone hides its address bar
    width = innerWidth;
    clearTimeout(soon);
    soon = setTimeout(filter, 200);
  });
}

function makeTheme() {
  const button = document.getElementById("theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const set = (on) => {
    document.documentElement.dataset.theme = on ? "dark" : "light";
    button.setAttribute("aria-pressed", on);
  };
  set(dark.matches);
  dark.addEventListener("change", () => { set(dark.matches); filter(); });
  button.addEventListener("click", () => { set(document.documentElement.dataset.theme !== "dark"); filter(); });
}

const vegaLoaded = load("vega").then(() => window);
makeTheme();
const { default: DataTable } = await load("data_tables"); // the controls need the table
prepareTables();
makeTabs();
listenToTabs();
makeChoices();
listenToChoices();
listenToWidth();
show(firstTask());
document.documentElement.dataset.ready = "true";
