// Draw losses by step as a line in a box; `last` is the step at its right edge.
function lossLine(losses, last, { left, top, width, height }) {
  const values = losses.map(([, loss]) => loss), low = Math.min(...values), high = Math.max(...values);
  const x = (step) => left + width * step / last, y = (loss) => top + height * (high > low ? (high - loss) / (high - low) : 0.5);
  return drawn("polyline", { points: losses.map(([step, loss]) => `${x(step)},${y(loss)}`).join(" "), fill: "none", stroke: "currentColor", "stroke-width": 1.5 });
}

// Draw the loss of one training loop, and below it its validation scores as points, on the same steps.
function learningCurve(seed, number, curve) {
  const box = { left: 52, top: 10, width: 350, height: 76 };
  const bottom = box.top + box.height, values = curve.losses, last = curve.steps.at(-1);
  const losses = curve.steps.map((step, i) => [step, values[i]]), scores = curve.validated.map((step, i) => [step, curve.scores[i]]);
  const x = (step) => box.left + box.width * step / last;
  const validated = scores.map(([step, score]) => `${score} after step ${step}`).join(", ");
  const caption = `Seed ${seed}, loop ${number}: loss ${values[0]} to ${values.at(-1)} in ${last} steps`
    + (validated ? `; validated ${validated}` : "");
  const write = (at, y, text, anchor) => drawn("text", { x: at, y, "text-anchor": anchor, "font-size": 11, fill: "currentColor" }, String(text));
  const line = (y) => drawn("line", { x1: box.left, x2: box.left + box.width, y1: y, y2: y, stroke: "var(--line)" });
  const digits = (loss) => Number(loss.toPrecision(3));
  const highest = Math.max(...values), lowest = Math.min(...values);
  return element("figure", {},
    drawn("svg", { class: "curve", viewBox: `0 0 420 ${validated ? 148 : 106}`, role: "img", "aria-label": caption },
      line(box.top), line(bottom),
      ...(highest > lowest
        ? [write(box.left - 6, box.top + 4, digits(highest), "end"), write(box.left - 6, bottom + 4, digits(lowest), "end")]
        : [write(box.left - 6, bottom - box.height / 2 + 4, digits(lowest), "end")]),
      write(box.left - 6, box.top + box.height / 2 + (highest > lowest ? 4 : 18), "loss", "end"),
      write(box.left, bottom + 16, 0, "middle"), write(box.left + box.width, bottom + 16, `step ${last}`, "end"),
      lossLine(losses, last, box),
      ...(validated ? [write(box.left - 6, 140, "score", "end")] : []),
      ...scores.map(([step]) => drawn("circle", { cx: x(step), cy: 122, r: 3.5, fill: "var(--link)" })),
      ...withoutOverlaps(scores, x).map(([step, score]) => write(Math.min(x(step), 403), 140, score, "middle"))),
    element("figcaption", { className: "hint" }, caption));
}

// Return the scores whose texts do not overlap, chosen from the last one backwards.
function withoutOverlaps(scores, x) {
  const written = [];
  for (const score of [...scores].reverse()) {
    if (!written.length || x(written.at(-1)[0]) - x(score[0]) > 32) written.push(score);
  }
  return written;
}
