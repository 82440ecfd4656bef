// Show all details of one row in a dialog.
const dialog = document.getElementById("details");
document.getElementById("close").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

function openDetails(row) {
  const task = content.tasks.find((other) => other.name === row.task);
  document.getElementById("details-title").textContent = `${row.name} on ${row.task}`;
  document.getElementById("details-body").replaceChildren(...sections(row, row.details, task));
  dialog.showModal();
  dialog.scrollTop = 0;
}

function sections(row, details, task) {
  const parts = [facts(row, details)];
  const add = (title, ...children) => parts.push(element("section", {}, element("h3", {}, title), ...children));
  for (const warning of details.warnings ?? []) add("Warning", element("p", {}, warning));
  for (const log of details.logs ?? []) {
    add(`End of the log of seed ${log.seed}`, element("pre", { tabIndex: 0 }, log.lines.join("\n")));
  }
  add("Measured", measures(row));
  add("Seeds", seedPicture(row, details.seeds), seedTable(details.seeds));
  const curves = details.seeds.flatMap((seed) => seed.curves.map((curve, i) => learningCurve(seed.seed, i + 1, curve)));
  if (curves.length) add("Learning curves", element("div", { className: "curves" }, ...curves));
  if (details.classes) {
    add(task.kind === "token-classification" ? "Entity types" : "Classes",
      plainTable(["", "precision", "recall", "F1", "examples"], details.classes.map((line) => line.map(String)), { texts: [0] }),
      element("p", { className: "hint" }, "Means over seeds, in percent."));
  }
  if (details.confusion) {
    add("Confusion matrix", confusion(details.confusion, task.labels),
      element("p", { className: "hint" }, "Rows are labels, columns predictions; counts over all seeds, shaded by their share of the row."));
  }
  for (const grid of details.latency ?? []) {
    add(`Latency: ${grid.back_end}`, grid.reason ? element("p", {}, grid.reason) : "",
      grid.points.length ? plainTable(content.points, grid.points) : "");
  }
  if (details.loads) add("Serving requests", plainTable(content.loads, details.loads, { texts: [0] }));
  const params = details.strategy?.params ?? [];
  if (params.length) add("Parameters", plainTable(["parameter", "value"], params, { texts: [0, 1] }));
  return parts;
}

function facts(row, details) {
  const lines = [
    ["Title", details.strategy?.title], ["Paper", details.strategy?.paper], ["Package", details.strategy?.distribution],
    ["Family", row.family], ["Status", details.status], ["Reason", details.reason], ["Control", details.control],
    ["Note", details.note?.join(" ")], ["Latency", details.latency_note?.join(" ")],
    ["Gap", details.gap_reason],
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
  const metrics = [...new Set(seeds.flatMap((seed) => Object.keys(seed.metrics)))];
  const reasons = seeds.some((seed) => seed.reason);
  return plainTable(
    ["seed", "status", "score", ...metrics, "training", ...(reasons ? ["reason"] : []), "record"],
    seeds.map((seed) => [String(seed.seed), seed.status, seed.score_text, ...metrics.map((name) => seed.metrics[name] ?? "-"),
      seed.training, ...(reasons ? [element("div", { className: "wide text" }, seed.reason ?? "")] : []), seed.key]),
    { texts: [1] });
}

// Draw every seed as a point above the interval of their mean.
function seedPicture(row, seeds) {
  const scores = seeds.map((seed) => seed.score).filter((score) => score !== null);
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
  const table = plainTable(["label \\ prediction", ...labels], counts.map((row, i) => [labels[i], ...row.map(String)]), { texts: [0] });
  table.classList.add("confusion");
  table.querySelectorAll("td").forEach((cell) => cell.classList.toggle("none", cell.textContent === "0"));
  table.querySelectorAll("tbody tr").forEach((line, i) => {
    const total = counts[i].reduce((sum, count) => sum + count, 0);
    line.querySelectorAll("td").forEach((cell, j) => {
      cell.style.background = `rgba(var(--heat), ${total ? (0.55 * counts[i][j]) / total : 0})`;
    });
  });
  return table;
}
