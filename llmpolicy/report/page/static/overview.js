// What is wrong, and the curves.

function overview(choices) {
  return [findings(), charts(choices), missing()];
}

function findings() {
  const { findings: found, not_checked: unchecked } = FACTS.diagnosis;
  const cards = found.map((finding) => el("article", { class: "finding" },
    el("h3", {}, el("code", {}, finding.kind), " ", el("small", {}, `confidence ${percent(finding.confidence)}`)),
    el("p", {}, nodesOf(finding.says)),
    el("p", {}, el("b", {}, "Change: "), nodesOf(finding.remedy)),
    el("p", { class: "links" }, evidence(finding), (finding.rollouts || []).map((at) =>
      el("a", { href: address("groups", { at }) }, `completion ${at}`)))));
  const quiet = unchecked.map((check) => el("li", {}, el("code", {}, check.kind), ": ", nodesOf(check.why)));
  return el("section", { "aria-labelledby": "findings" },
    el("h2", { id: "findings" }, "Findings"),
    cards.length ? el("div", { class: "cards" }, cards) : el("p", {}, "The doctor's checks found nothing."),
    quiet.length ? el("details", {}, el("summary", {}, `${many(quiet.length, "check")} could not be made`), el("ul", {}, quiet)) : null);
}

function evidence(finding) {
  const pairs = Object.entries(finding.evidence || {}).slice(0, 6);
  if (!pairs.length) return null;
  const words = pairs.map(([name, value]) => `${name} ${typeof value === "number" ? number(value, 4) : value}`).join(" · ");
  return el("span", { class: "evidence" }, line(words, 160));
}

function charts({ from, to }) {
  const section = el("section", { "aria-labelledby": "curves" }, el("h2", { id: "curves" }, "Curves"));
  if (!FACTS.charts.length) { section.append(el("p", {}, "There are no figures to draw.")); return section; }
  section.append(el("p", { class: "hint", id: "chosen-steps", "aria-live": "polite" }, chosenSteps(from, to)));
  const grid = el("div", { class: "charts" });
  section.append(grid);
  AFTER.push(() => {
    const width = Math.max(240, (grid.clientWidth - 18 * (columnsOf(grid) - 1)) / columnsOf(grid) - 26);
    for (const chart of FACTS.charts) grid.append(chartOf(chart, Math.floor(width)));
    resizeCharts();
  });
  return section;
}

function columnsOf(grid) {
  return getComputedStyle(grid).gridTemplateColumns.split(" ").length;
}

function chosenSteps(from, to) {
  if (!from && !to) return ["Draw over a curve to choose steps; groups and rollouts of them are a link away."];
  return [
    `Steps ${from || "first"} to ${to || "last"}: `,
    el("a", { href: address("groups", { from, to }) }, "their groups"), ", ",
    el("a", { href: address("rollouts", { from, to }) }, "their rollouts"), ", ",
    el("a", { href: address("overview") }, "all steps again"),
  ];
}

function missing() {
  if (!FACTS.missing.length) return null;
  return el("section", { "aria-labelledby": "missing" }, el("h2", { id: "missing" }, "What this page lacks"),
    el("ul", {}, FACTS.missing.map((sentence) => el("li", {}, nodesOf(sentence)))));
}
