// All that is known of one row, in a dialog.
const dialog = document.getElementById("details");
document.getElementById("close").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

function openDetails(row) {
  const task = content.tasks.find((one) => one.name === row.task);
  document.getElementById("details-title").textContent = `${row.name} on ${row.task}`;
  document.getElementById("details-body").replaceChildren(...sections(row, row.details, task));
  dialog.showModal();
  dialog.scrollTop = 0;
}

function sections(row, told, task) {
  const parts = [facts(row, told)];
  const add = (title, ...made) => parts.push(element("section", {}, element("h3", {}, title), ...made));
  for (const warning of told.warnings ?? []) add("Warning", element("p", {}, warning));
  for (const log of told.logs ?? []) {
    add(`End of the log of seed ${log.seed}`, element("pre", { tabIndex: 0 }, log.lines.join("\n")));
  }
  add("Measured", measures(row));
  add("Seeds", seedPicture(row, told.seeds), seedTable(told.seeds));
  const curves = told.seeds.flatMap((one) => one.curves.map((curve, i) => learningCurve(one.seed, i + 1, curve)));
  if (curves.length) add("Learning curves", element("div", { className: "curves" }, ...curves));
  if (told.classes) {
    add(task.kind === "token-classification" ? "Types of entity" : "Classes",
      plainTable(["", "precision", "recall", "F1", "examples"], told.classes.map((one) => one.map(String)), { texts: [0] }),
      element("p", { className: "hint" }, "Means over seeds, in percent."));
  }
  if (told.confusion) {
    add("Right answers and given ones", confusion(told.confusion, task.labels),
      element("p", { className: "hint" }, "A line is a right answer, a column a given one; counts over all seeds, shaded by their share of the line."));
  }
  for (const grid of told.latency ?? []) {
    add(`Latency: ${grid.back_end}`, grid.reason ? element("p", {}, grid.reason) : "",
      grid.points.length ? plainTable(content.points, grid.points) : "");
  }
  const params = told.strategy?.params ?? [];
  if (params.length) add("Parameters", plainTable(["parameter", "value"], params, { texts: [0, 1] }));
  return parts;
}

function facts(row, told) {
  const lines = [
    ["What", told.strategy?.title], ["Paper", told.strategy?.paper], ["From", told.strategy?.distribution],
    ["Family", row.family], ["Status", told.status], ["Reason", told.reason], ["Control", told.control],
    ["Note", told.note?.join(" ")], ["Latency", told.latency_note?.join(" ")],
    ["Gap", told.gap_reason],
  ];
  return element("dl", {}, ...lines.filter(([, text]) => text)
    .flatMap(([name, text]) => [element("dt", {}, name), element("dd", {}, text)]));
}

function measures(row) {
  const lines = content.columns.map((column, i) => [column.heading, row.full[i] ?? row.texts[i]]).filter(([, text]) => text !== "-");
  return element("dl", { className: "measures" }, ...lines.map(([name, text]) =>
    element("div", {}, element("dt", {}, name), element("dd", {}, text))));
}

function seedTable(seeds) {
  const metrics = [...new Set(seeds.flatMap((one) => Object.keys(one.metrics)))];
  const reasons = seeds.some((one) => one.reason);
  return plainTable(
    ["seed", "status", "score", ...metrics, "training", ...(reasons ? ["reason"] : []), "record"],
    seeds.map((one) => [String(one.seed), one.status, one.score_text, ...metrics.map((name) => one.metrics[name] ?? "-"),
      one.training, ...(reasons ? [element("div", { className: "wide text" }, one.reason ?? "")] : []), one.key]),
    { texts: [1] });
}

// Every seed as a point above the interval of their mean.
function seedPicture(row, seeds) {
  const scores = seeds.map((one) => one.score).filter((score) => score !== null);
  if (scores.length < 2 || row.low === null) return "";
  const low = Math.min(row.low, ...scores), high = Math.max(row.high, ...scores);
  const end = (score, anchor) => drawn("text", { x: x(score), y: 42, "text-anchor": anchor, "font-size": 11, fill: "currentColor" }, (100 * score).toFixed(1));
  const x = (score) => 20 + 380 * (high > low ? (score - low) / (high - low) : 0.5);
  const line = { y1: 26, y2: 26, stroke: "currentColor", "stroke-width": 2 };
  return drawn("svg", { class: "seeds", viewBox: "0 0 420 48", role: "img", "aria-label": `${scores.length} seeds and the interval of their mean` },
    drawn("line", { x1: x(row.low), x2: x(row.high), ...line }),
    end(row.low, "start"), end(row.high, "end"),
    ...scores.map((score) => drawn("circle", { cx: x(score), cy: 12, r: 5, fill: "var(--link)", "fill-opacity": 0.7 })));
}

function confusion(counts, labels) {
  const made = plainTable(["right \\ given", ...labels], counts.map((row, i) => [labels[i], ...row.map(String)]), { texts: [0] });
  made.classList.add("confusion");
  made.querySelectorAll("td").forEach((cell) => cell.classList.toggle("none", cell.textContent === "0"));
  made.querySelectorAll("tbody tr").forEach((line, i) => {
    const all = counts[i].reduce((sum, count) => sum + count, 0);
    line.querySelectorAll("td").forEach((cell, j) => {
      cell.style.background = `rgba(var(--heat), ${all ? (0.55 * counts[i][j]) / all : 0})`;
    });
  });
  return made;
}
