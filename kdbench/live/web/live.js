// Polls the state of the run, and replaces the board without disturbing the reader.
const POLL_MS = 2000;
const SILENT_S = 30;
const part = (name) => document.getElementById(`live-${name}`);
const tableOfCells = document.querySelector("#live-cells table");
let version = null;
let boardProblem = null;
let last = null;
let news = "";
let costChosen = false;
costChoice.addEventListener("change", () => { costChosen = true; });

// The server does not respond, or not as expected.
class Disconnected extends Error {}

async function fetchJson(path) {
  try {
    const answer = await fetch(path, { cache: "no-store" });
    if (answer.ok) return await answer.json();
  } catch (error) {
    throw new Disconnected(path, { cause: error });
  }
  throw new Disconnected(path);
}

async function update() {
  const state = await fetchJson("/state.json");
  showState(state); // first, since the board is slow while all cores are busy
  last = state;
  if (document.hidden || state.board === null || state.board === version) return;
  const made = await fetchJson("/content.json");
  boardProblem = made.problem ?? null;
  if (!made.content) return; // it is requested again
  replaceBoard(made);
  version = made.version;
  showState(state); // again, with the scores and rows that the cells link to
}

let wake = () => {};
document.addEventListener("visibilitychange", () => wake());

async function poll() {
  for (;;) {
    await update().catch((error) => (error instanceof Disconnected ? showDisconnected() : console.error(error)));
    await new Promise((go) => { wake = go; setTimeout(go, POLL_MS); });
  }
}

// ---- replacing the board

function replaceBoard(made) {
  const kept = { order: order(), focus: focus(), left: document.getElementById("board").scrollLeft, top: scrollY };
  const before = { tasks: content.tasks.map((item) => item.name), cost: costChosen ? content.costs[costChoice.selectedIndex]?.[0] : null, choices: choices() };
  content = made.content;
  specification = made.specification;
  document.querySelector("h1").textContent = content.title;
  document.getElementById("model").textContent = content.model;
  document.body.classList.toggle("no-rows", !content.rows.length);
  if (String(before.tasks) !== String(content.tasks.map((item) => item.name))) makeTabs();
  if (before.choices !== choices()) {
    makeChoices();
    costChoice.selectedIndex = Math.max(0, content.costs.findIndex(([name]) => name === before.cost));
  }
  show(content.tasks.find((item) => item.name === chosen.task?.name) ?? firstTask());
  const columns = titles();
  const again = kept.order.filter(([title]) => columns.includes(title)).map(([title, way]) => [columns.indexOf(title), way]);
  if (again.length) table.order(again).draw();
  document.getElementById("board").scrollLeft = kept.left;
  scrollTo(scrollX, kept.top);
  refocus(kept.focus);
}

const choices = () => JSON.stringify([content.families, content.columns, content.costs]);
const titles = () => table.columns().titles().toArray();
const order = () => table.order().map(([column, way]) => [titles()[column], way]);

// Returns a function that finds the focused element in the new board, if the old one has the focus.
function focus() {
  const at = document.activeElement;
  const line = at.closest("#board tr");
  if (line && at.closest("td")) {
    return () => [...document.querySelectorAll("#board tbody tr")].find((item) => item.cells[0].textContent === line.cells[0].textContent)
      ?.cells[at.closest("td").cellIndex]?.querySelector("button");
  }
  if (line) return () => document.querySelectorAll("#board thead th")[at.closest("th").cellIndex]?.querySelector('[role="button"]');
  if (at.closest("#tabs")) return () => [...tabs.children].find((tab) => tab.value === at.value);
  const label = at.closest("#families label, #columns label")?.textContent;
  const group = at.closest("#families, #columns")?.id;
  return label ? () => [...document.querySelectorAll(`#${group} label`)].find((item) => item.textContent === label)?.querySelector("input") : () => null;
}

function refocus(find) {
  const at = document.activeElement;
  if (at === null || at === document.body) find()?.focus({ preventScroll: true });
}

// ---- the run

function showState(state) {
  const run = state.run;
  const lives = run && !run.ending && state.silent_s <= SILENT_S;
  part("warning").textContent = warning(state);
  part("status").textContent = statusText(state);
  part("left").textContent = lives && run.left_s !== null && waiting(run) ? `about ${durationText(Math.max(run.left_s - state.silent_s, 1))} left` : "";
  part("bar").hidden = part("cells").hidden = !run;
  part("work").hidden = !lives;
  if (news !== part("status").textContent) part("news").textContent = news = part("status").textContent;
  document.title = lives ? `${applying(run).filter(over).length}/${applying(run).length} ${content.title}` : content.title;
  if (!run) return;
  part("bar").max = applying(run).length;
  part("bar").value = applying(run).filter(over).length;
  part("work").replaceChildren(...[...run.cells, ...run.timings].filter((item) => item.state === "running").map(working));
  if (run.ending && last?.run?.ending === null) part("cells").open = false; // it has just ended: the board has all results
  showCells(run.cells);
}

const over = (cell) => !["queued", "running"].includes(cell.state);
const applying = (run) => run.cells.filter((cell) => cell.state !== "not-applicable");
const waiting = (run) => run.cells.some((cell) => !over(cell));
const counted = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

function statusText({ run, expected }) {
  if (!run) return expected ? "Preparing models and data; then the run begins." : "There is no run in this results folder yet; it will be shown here when one starts.";
  const cells = applying(run);
  const failed = cells.filter((cell) => cell.state === "failed").length;
  const sum = `${cells.filter(over).length} of ${counted(cells.length, "cell")} done${failed ? `, ${failed} of them failed` : ""}`;
  if (run.ending === "done") return `The run has ended: ${sum}.`;
  if (run.ending === "interrupted") return `The run was interrupted: ${sum}. Run the same command again to resume.`;
  if (run.ending === "broken") return `The run failed: ${sum}. See its terminal for the reason.`;
  if (waiting(run)) return `${sum}.`;
  return run.timings.some((item) => item.state === "running") ? `${sum}; timing the models.` : `${sum}; writing the board.`;
}

function warning({ run, silent_s, problem }) {
  if (problem ?? boardProblem) return problem ?? boardProblem;
  if (run && !run.ending && silent_s > SILENT_S) return `No update from the run for ${durationText(silent_s)}: it was killed, or its machine is asleep.`;
  return "";
}

function showDisconnected() {
  part("left").textContent = "";
  if (last?.run?.ending) return; // what the page shows is final
  part("warning").textContent = "The server does not respond: the run, or kdbench watch, has ended. This page continues when it is back.";
}

function durationText(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

// A running cell or timing: its progress, and its loss with a curve.
function working(item) {
  const name = item.name ?? `${item.strategy} on ${item.task}, seed ${item.seed}`;
  const how = item.phase === null ? "starting" : `${item.phase} ${item.done}/${item.total}${item.loss === null ? "" : `, loss ${item.loss.toFixed(3)}`}`;
  const bar = element("progress", { max: Math.max(item.total, 1), value: item.done });
  bar.setAttribute("aria-label", `${name}: ${how}`);
  const losses = item.losses.length > 1
    ? drawn("svg", { viewBox: "0 0 210 40", preserveAspectRatio: "none", role: "img", "aria-label": `loss ${item.losses[0][1]} to ${item.losses.at(-1)[1]}` },
      lossLine(item.losses, item.losses.at(-1)[0], { left: 2, top: 3, width: 206, height: 34 }))
    : element("span");
  return element("div", { className: "work" }, element("div", { className: "name" }, name), element("div", {}, bar, element("div", { className: "how" }, how)), losses);
}

// Strategies by tasks, one chip per seed; a line is rebuilt only when it changes.
function showCells(cells) {
  const tasks = [...new Set(cells.map((cell) => cell.task))];
  const head = JSON.stringify(tasks);
  const [top, body] = [tableOfCells.tHead, tableOfCells.tBodies[0]];
  if (top.dataset.made !== head) {
    top.dataset.made = head;
    top.replaceChildren(element("tr", {}, ...["strategy", ...tasks].map((name) => element("th", { scope: "col" }, name))));
    body.replaceChildren();
  }
  const strategies = byStrategy(cells);
  const lines = new Map([...body.rows].map((line) => [line.cells[0].textContent, line]));
  for (const [strategy, own] of strategies) {
    const made = JSON.stringify([version, own.map((cell) => [cell.state, cell.score, cell.state === "running" && runningText(cell)])]);
    const line = lines.get(strategy);
    lines.delete(strategy);
    if (line?.dataset.made === made) continue;
    const fresh = element("tr", {}, element("th", { scope: "row", title: strategy }, strategy),
      ...tasks.map((task) => element("td", {}, ...own.filter((cell) => cell.task === task).map(chip))));
    fresh.dataset.made = made;
    if (line) line.replaceWith(fresh);
    else body.append(fresh);
  }
  for (const line of lines.values()) line.remove();
}

function byStrategy(cells) {
  const groups = new Map();
  for (const cell of cells) groups.set(cell.strategy, [...(groups.get(cell.strategy) ?? []), cell]);
  return groups;
}

// Only training takes long enough for a percentage.
function runningText({ phase, loss, done, total }) {
  if (phase === null) return "starting";
  return loss !== null && total ? `${phase} ${Math.floor(100 * done / total)}%` : phase;
}

function chip(cell) {
  const row = content.rows.find((item) => item.task === cell.task && item.strategy === cell.strategy);
  const score = cell.score ?? row?.details.seeds.find((item) => item.seed === cell.seed)?.score ?? null;
  const text = {
    queued: "·", running: runningText(cell), failed: "failed", "not-applicable": "-",
    done: score === null ? "done" : (100 * score).toFixed(1),
  }[cell.state];
  const more = cell.reason ?? (cell.seconds === null ? "" : durationText(cell.seconds));
  const title = `seed ${cell.seed}: ${cell.state}${more ? `, ${more}` : ""}`;
  const made = row && over(cell)
    ? button(text, () => openDetails(content.rows.find((item) => item.task === cell.task && item.strategy === cell.strategy)))
    : element("span", { role: "img" }, text);
  made.className = `chip ${cell.state}`;
  made.title = title;
  made.setAttribute("aria-label", `${text === "·" ? "" : `${text}, `}${title}`);
  return made;
}

document.body.classList.toggle("no-rows", !content.rows.length);
poll();
