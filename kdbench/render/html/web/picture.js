// Plot quality against a cost: the points are the table's rows, and hovering highlights both.
let specification = read("specification");
const costChoice = document.getElementById("cost");
const NARROW = 600;
const NAME = { letter: 6.5, height: 12, gap: 8, highest: 60 }; // pixels; `letter` is the mean width of a letter
const AXIS = 60; // width of the vertical axis in pixels
// Expressions are interpreted, and no style is inserted: the page runs and shows nothing but what its policy lists.
const EMBEDDING = () => ({ actions: false, renderer: "svg", config: look(), ast: true, defaultStyle: false, tooltip: { disableDefaultStyle: true } });
let view = null;
let drawing = 0;

async function drawPicture(task, rows) {
  const place = document.getElementById("picture");
  const cost = content.costs[costChoice.selectedIndex];
  const points = cost ? rows.filter((row) => row.ok).map((row) => point(row, cost[0])) : [];
  const placed = points.filter(({ cost }) => cost > 0);
  const missing = points.length - placed.length;
  document.getElementById("unplaced").textContent =
    missing ? `${missing} of ${points.length} rows are not drawn: this cost was not measured for them.` : "";
  const turn = ++drawing;
  view?.finalize();
  view = null;
  if (!placed.length) {
    place.replaceChildren(element("p", { className: "hint" }, "Nothing to draw."));
    return;
  }
  const { vegaEmbed } = await vegaLoaded;
  if (turn !== drawing) return; // another plot was requested meanwhile
  const embedded = await vegaEmbed(place, specified(task, cost[1], withNames(withFront(placed), place.clientWidth - AXIS)), EMBEDDING());
  if (turn !== drawing) { embedded.finalize(); return; }
  view = embedded.view;
  view.addEventListener("click", (event, item) => { if (item?.datum?.id !== undefined) openDetails(content.rows[item.datum.id]); });
  view.addEventListener("mouseover", (event, item) => markRow(item?.datum?.id ?? null));
  view.addEventListener("mouseout", () => markRow(null));
  place.querySelectorAll('[role="graphics-symbol"]').forEach((symbol) => {
    const id = symbol.__data__?.datum?.id;
    if (id === undefined) return;
    symbol.setAttribute("tabindex", "0");
    symbol.setAttribute("role", "button");
    symbol.addEventListener("focus", () => markRow(id));
    symbol.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); openDetails(content.rows[id]); }
    });
  });
}

function point(row, cost) {
  const index = columnIndex(cost);
  const score = columnIndex("score");
  return {
    id: row.id, name: row.strategy, family: row.family, score: 100 * row.values[score],
    low: 100 * (row.low ?? row.values[score]), high: 100 * (row.high ?? row.values[score]),
    cost: row.values[index], score_text: row.texts[score], cost_text: row.texts[index],
    description: `${row.strategy}, ${row.family}: score ${row.texts[score]}, ${content.columns[index].heading} ${row.texts[index]}`,
  };
}

// Mark the drawn points that score more than every cheaper one: the front depends on the user's filters.
function withFront(points) {
  let best = -Infinity;
  for (const candidate of [...points].sort((a, b) => a.cost - b.cost || b.score - a.score)) {
    candidate.front = candidate.score > best;
    best = Math.max(best, candidate.score);
  }
  return points;
}

// Place the front's names: towards the middle, each raised until it covers no point and no earlier name.
function withNames(points, width) {
  const padding = (axis) => specification.layer[0].encoding[axis].scale.padding;
  const x = scale(points.map((point) => Math.log(point.cost)), padding("x"), width - padding("x"));
  const y = scale(points.flatMap((point) => [-point.low, -point.high]), padding("y"), specification.height - padding("y"));
  const places = points.map((point) => ({ point, x: x(Math.log(point.cost)), y: y(-point.score) }));
  const taken = places.map(({ x, y }) => ({ left: x - 5, right: x + 5, top: y - 5, bottom: y + 5 }));
  for (const { point, x, y } of places.filter(({ point }) => point.front).sort((a, b) => a.x - b.x)) {
    point.dx = x > width / 2 ? -NAME.gap : NAME.gap;
    point.dy = -NAME.gap;
    const long = NAME.letter * point.name.length, left = x + point.dx - (point.dx < 0 ? long : 0);
    const box = () => ({ left, right: left + long, top: y + point.dy - NAME.height, bottom: y + point.dy });
    while (point.dy > -NAME.gap - NAME.highest && taken.some((other) => overlap(box(), other))) point.dy -= 2;
    taken.push(box());
  }
  return points;
}

function scale(values, from, to) {
  const low = Math.min(...values), span = Math.max(...values) - low || 1;
  return (value) => from + ((value - low) / span) * (to - from);
}

function overlap(a, b) {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}

function specified(task, costName, points) {
  const filled = structuredClone(specification);
  filled.datasets = { ...filled.datasets, points };
  for (const layer of filled.layer) {
    layer.encoding.x.axis = { ...layer.encoding.x.axis, title: costName };
    layer.encoding.y.axis = { ...layer.encoding.y.axis, title: `${task.metric}, %` };
  }
  if (innerWidth < NARROW) filled.layer.pop(); // no room for the names on the front
  return filled;
}

function look() {
  const style = getComputedStyle(document.documentElement);
  const text = style.getPropertyValue("--text"), line = style.getPropertyValue("--line");
  return {
    font: getComputedStyle(document.body).fontFamily,
    axis: { labelColor: text, titleColor: text, gridColor: line, gridOpacity: 0.6, domainColor: line, tickColor: line, titleFontWeight: "normal", titleFontSize: 12 },
    text: { color: text },
    view: { stroke: null },
  };
}

function markPoint(id) {
  view?.signal("marked", id).runAsync();
}
