// The curves: one axis of steps; a range that is drawn in one of them is chosen in all.

const COLOURS = ["--c1", "--c2", "--c3", "--c4", "--c5", "--c6"];
const DASHES = [[], [6, 3], [2, 3], [8, 3, 2, 3], [], [6, 3]];
const DRAWN = [];

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function faded(hex, share) {
  return hex + Math.round(255 * share).toString(16).padStart(2, "0");
}

function chartOf(chart, width) {
  const figure = el("figure", { class: "chart" }, el("figcaption", {}, chart.title));
  const holder = el("div", { class: "plot", role: "img", "aria-label": spoken(chart) });
  figure.append(holder);
  const made = new uPlot(optionsOf(chart, width), dataOf(chart), holder);
  DRAWN.push(made);
  return figure;
}

// The chart in words, for who does not see it.
function spoken(chart) {
  const over = chart.over || "steps";
  const said = chart.series.map(({ label, values }) => {
    const known = values.filter((value) => value != null);
    return `${label} ${number(known[0])} to ${number(known[known.length - 1])}`;
  });
  return `${chart.title}, ${over} ${chart.steps[0]} to ${chart.steps[chart.steps.length - 1]}: ${said.join("; ")}`;
}

function dataOf(chart) {
  const data = [chart.steps];
  const total = chart.steps.map(() => 0);
  for (const series of chart.series) {
    if (chart.stacked) {
      series.values.forEach((value, at) => (total[at] += value || 0));
      data.push([...total]);
      continue;
    }
    data.push(series.values);
    if (series.low) data.push(series.high, series.low);
  }
  return data;
}

function optionsOf(chart, width) {
  const series = [{ label: chart.over || "step", value: (_, step) => step ?? "last" }], bands = [], edges = [];
  chart.series.forEach((one, at) => {
    const stroke = colour(COLOURS[at % COLOURS.length]);
    const fill = faded(stroke, chart.stacked ? 0.45 : 0.18);
    series.push({
      label: one.label, stroke, width: chart.stacked ? 1 : 1.75, dash: chart.stacked ? [] : DASHES[at % DASHES.length], spanGaps: true,
      points: { show: Boolean(one.points) || chart.steps.length < 3, size: 6 },
      value: (_, shown, which, index) => number(one.values[index ?? one.values.findLastIndex((value) => value != null)]),
    });
    if (chart.stacked) {
      if (at) bands.push({ series: [at + 1, at], fill });
      else series[1].fill = fill;
    }
    if (one.low) {
      const edge = { stroke: "transparent", width: 0, points: { show: false } };
      edges.push(series.length, series.length + 1);
      series.push({ ...edge, label: "high" }, { ...edge, label: "low" });
      bands.push({ series: [series.length - 2, series.length - 1], fill });
    }
  });
  const ink = colour("--ink-2"), grid = { stroke: colour("--line"), width: 1 };
  const axis = { stroke: ink, grid, ticks: grid, font: "12px system-ui, sans-serif" };
  return {
    width, height: 190, series, bands, legend: { live: true, markers: { width: 2 } },
    scales: { x: { time: false, ...(chart.over ? { distr: 3, log: 2 } : { range: () => xRange() }) }, y: { range: (_, low, high) => yRange(chart, low, high) } },
    axes: [{ ...axis, size: 32, ...(chart.over ? { splits: () => chart.steps, values: (_, ticks) => ticks.map(String), filter: (_, ticks) => ticks } : {}) }, { ...axis, size: 56, values: (_, ticks) => ticks.map((tick) => number(tick)) }],
    cursor: { ...(chart.over ? {} : { sync: { key: "run" } }), drag: { x: !chart.over, y: false, setScale: false }, points: { size: 6 } },
    hooks: { setSelect: chart.over ? [] : [chosen], ready: [(plot) => hideEdges(plot, edges)] },
  };
}

// An interval is one thing: its two edges have no lines in the legend.
function hideEdges(plot, edges) {
  const lines = plot.root.querySelectorAll(".u-series");
  for (const edge of edges) lines[edge].hidden = true;
}

function xRange() {
  const steps = FACTS.charts.filter((chart) => !chart.over).flatMap((chart) => [chart.steps[0], chart.steps[chart.steps.length - 1]]);
  const low = Math.min(...steps), high = Math.max(...steps);
  return low === high ? [low - 1, high + 1] : [low, high];
}

function yRange(chart, low, high) {
  if (chart.most) return [0, chart.most * 1.02];
  if (low == null) return [0, 1];
  const room = (high - low) * 0.08 || Math.abs(high) * 0.1 || 1;
  return [low >= 0 && low < high * 0.6 ? 0 : low - room, high + room];
}

function chosen(plot) {
  const { left, width } = plot.select;
  if (plot.marking) return;
  if (width < 3) { choose({ from: null, to: null }, { quietly: true }); return; }
  const steps = [left, left + width].map((at) => Math.round(plot.posToVal(at, "x")));
  choose({ from: steps[0], to: steps[1] }, { quietly: true });
}

// The chosen steps, drawn in a chart.
function mark(plot) {
  const { from, to } = here().choices;
  if (plot.scales.x.distr === 3) return;
  plot.marking = true;
  if (from == null && to == null) plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
  else {
    const [low, high] = xRange();
    const left = plot.valToPos(Math.max(low, Number(from ?? low)), "x");
    const right = plot.valToPos(Math.min(high, Number(to ?? high)), "x");
    plot.setSelect({ left, width: Math.max(right - left, 2), top: 0, height: plot.over.clientHeight }, false);
  }
  plot.marking = false;
}

function resizeCharts() {
  for (const plot of DRAWN) {
    const width = plot.root.parentElement?.clientWidth;
    if (width && width !== plot.width) plot.setSize({ width, height: 190 });
    mark(plot);
  }
}

function forgetCharts() {
  for (const plot of DRAWN.splice(0)) plot.destroy();
}

// A line of a prompt's rewards through the run, small enough for a table.
function spark(values) {
  const width = 96, height = 22, low = FACTS.least, high = FACTS.most > low ? FACTS.most : low + 1;
  const at = (value, index) => {
    const x = values.length < 2 ? width / 2 : 2 + (index / (values.length - 1)) * (width - 4);
    return `${x.toFixed(1)},${(height - 3 - ((value - low) / (high - low)) * (height - 6)).toFixed(1)}`;
  };
  const label = values.map((value) => number(value, 2)).join(", ");
  const picture = svg("svg", { class: "spark", width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  picture.append(svg("polyline", { points: values.map(at).join(" ") }));
  values.forEach((value, index) => {
    const [cx, cy] = at(value, index).split(",");
    if (values.length <= 12) picture.append(svg("circle", { cx, cy, r: 2 }));
  });
  return picture;
}
