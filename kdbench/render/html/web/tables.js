// Build the table of one task, or of all tasks; DataTables sorts and searches it.
let table = null;

// Compare numbers or texts; unmeasured values (null) sort last in either direction.
const compare = (a, b) => (typeof a === typeof b && typeof a === "string" ? a.localeCompare(b) : a < b ? -1 : a > b ? 1 : 0);
const measuredFirst = (sign) => (a, b) => (a === null) - (b === null) || (a === null ? 0 : sign * compare(a, b));

function prepareTables() {
  DataTable.type("measured", { order: { asc: measuredFirst(1), desc: measuredFirst(-1) } });
}

const columnIndex = (name) => content.columns.findIndex((column) => column.name === name);
const sortText = (text) => (text === "-" ? null : fold(text));
const FAMILY = { heading: "family", data: null, className: "text", render: (row, type) => (type === "display" ? document.createTextNode(row.family) : fold(row.family)) };
const fold = (text) => String(text).toLowerCase();

function button(text, action) {
  const node = element("button", { type: "button", title: text }, text);
  node.addEventListener("click", action);
  return node;
}

function taskTable(rows) {
  const score = columnIndex("score");
  const columns = [
    { heading: "strategy", data: null, render: (row, type) => (type === "display" ? button(row.name, () => openDetails(row)) : fold(row.name)) },
    ...content.columns.map((column, i) => ({
      heading: column.heading, data: null, visible: isShown(column), searchable: false, type: "measured",
      render: (row, type) => (type === "display" ? document.createTextNode(row.texts[i]) : row.values[i] ?? (i === score ? null : sortText(row.texts[i]))),
      orderSequence: column.isLowerBetter ? ["asc", "desc"] : ["desc", "asc"],
    })),
    FAMILY,
  ];
  build(columns, rows, []);
  content.columns.forEach((column, i) => { table.column(i + 1).header().title = column.note; });
}

function overviewTable(strategies, tasks) {
  const score = columnIndex("score");
  const columns = [
    { heading: "strategy", data: null, render: (strategy, type) => (type === "display" ? element("span", { title: strategy.strategy }, strategy.strategy) : fold(strategy.strategy)) },
    { heading: "average rank", data: null, searchable: false, type: "measured", render: (strategy, type) => (type === "display" ? document.createTextNode(strategy.average_rank_text) : strategy.average_rank) },
    ...(strategies.some((strategy) => strategy.normalized !== null)
      ? [{ heading: "normalized mean", data: null, searchable: false, type: "measured", orderSequence: ["desc", "asc"], render: (strategy, type) => (type === "display" ? document.createTextNode(strategy.normalized_text) : strategy.normalized) },
        { heading: "worst task", data: null, searchable: false, type: "measured", orderSequence: ["desc", "asc"], render: (strategy, type) => (type === "display" ? document.createTextNode(strategy.worst_text) : strategy.worst) }]
      : []),
    ...tasks.map((task) => ({
      heading: `${task.name} ${task.metric}`, data: null, searchable: false, type: "measured", orderSequence: ["desc", "asc"],
      render: (strategy, type) => {
        const row = content.rows[strategy.rows[task.name]];
        if (type !== "display") return row?.values[score] ?? null;
        return row ? button(row.texts[score].split(" ")[0], () => openDetails(row)) : document.createTextNode("-");
      },
    })),
    FAMILY,
  ];
  build(columns, strategies, [[1, "asc"]]);
}

function build(columns, rows, order) {
  table?.destroy();
  const place = document.getElementById("board");
  // Headings are elements: DataTables reads a title in its options as markup.
  const head = element("tr", {}, ...columns.map(({ heading }) => element("th", {}, heading)));
  const node = element("table", {}, element("thead", {}, head));
  place.replaceChildren(node);
  table = new DataTable(node, {
    data: rows, columns, order, paging: false, info: false, autoWidth: false, layout: { topStart: null, topEnd: null, bottomStart: null, bottomEnd: null },
    createdRow: (line, row) => {
      if (row.id === undefined) return;
      line.dataset.row = row.id;
      line.addEventListener("mouseenter", () => markPoint(row.id));
      line.addEventListener("mouseleave", () => markPoint(null));
      line.addEventListener("focusin", () => markPoint(row.id));
      line.addEventListener("focusout", () => markPoint(null));
    },
    language: { emptyTable: "No rows.", zeroRecords: "No matching row: change the search, or select another family." },
  });
}

function markRow(id) {
  document.querySelectorAll("#board tr.marked").forEach((line) => line.classList.remove("marked"));
  if (id !== null) document.querySelector(`#board tr[data-row="${id}"]`)?.classList.add("marked");
  markPoint(id);
}
