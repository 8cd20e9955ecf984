// All completions: search, facets, order; only the lines that are in sight are made.

const ROW = 34;
const OUTCOMES = {
  most: ["paid most", (reward) => reward != null && reward >= FACTS.most - 1e-6],
  between: ["in between", (reward) => reward != null && reward > FACTS.least + 1e-6 && reward < FACTS.most - 1e-6],
  least: ["paid least", (reward) => reward != null && reward <= FACTS.least + 1e-6],
  unjudged: ["not judged", (reward) => reward == null],
};
const COLUMNS = [["step", "step"], ["reward", "reward"], ["advantage", "adv."], ["length", "tokens"], ["surprise", "nats"]];

async function rollouts(choices) {
  const data = await rows();
  if (!data.size) return [nothing("This run has kept no completions.")];
  const began = performance.now();
  const found = chosenRows(choices, data);
  const took = performance.now() - began;
  const list = el("div", { class: "lines", tabindex: "0", role: "region", "aria-label": "completions" });
  AFTER.push(() => scrolled(list, found, data));
  return [
    rolloutControls(choices, data),
    el("p", { class: "hint", id: "count", "aria-live": "polite", "data-ms": took.toFixed(1) }, `${many(found.length, "completion")} of ${data.size.toLocaleString("en")}`),
    el("div", { class: "head" }, COLUMNS.map(([name, label]) => sorter(name, label, choices)), el("span", {}, "prompt"), el("span", {}, "completion")),
    list,
  ];
}

function rolloutControls(choices, data) {
  const ends = [...new Set(data.ended.filter((at) => at >= 0))].map((at) => data.texts[at]);
  return el("form", { class: "controls", onsubmit: (event) => event.preventDefault() },
    field("search", "q", choices.q, { type: "search", class: "search" }),
    select("paid", "paid", [["", "all"], ...Object.entries(OUTCOMES).map(([name, [label]]) => [name, label])], choices.paid || ""),
    select("cut off", "cut", [["", "all"], ["yes", "cut off"], ["no", "ended"]], choices.cut || ""),
    ends.length > 1 ? select("ended", "ended", [["", "all"], ...ends.map((end) => [end, end])], choices.ended || "") : null,
    stepFields(choices),
    field("reward from", "low", choices.low, { inputmode: "decimal", size: 5 }),
    field("to", "high", choices.high, { inputmode: "decimal", size: 5 }));
}

function sorter(name, label, { by, down }) {
  const chosen = (by || "") === name;
  const next = { by: name, down: chosen && !down ? "1" : null };
  return el("button", { type: "button", "aria-pressed": String(chosen), title: `order by ${label}`, onclick: () => choose(next, { quietly: true }) },
    label, chosen ? (down ? " ↓" : " ↑") : "");
}

function chosenRows(choices, data) {
  const tests = [];
  if (choices.from || choices.to) { const inSteps = stepsOf(choices); tests.push((at) => inSteps(data.step[at])); }
  if (OUTCOMES[choices.paid]) tests.push((at) => OUTCOMES[choices.paid][1](data.reward[at]));
  if (choices.cut) tests.push((at) => Boolean(data.truncated[at]) === (choices.cut === "yes"));
  if (choices.ended) { const end = data.texts.indexOf(choices.ended); tests.push((at) => data.ended[at] === end); }
  if (choices.low) tests.push((at) => data.reward[at] != null && data.reward[at] >= Number(choices.low));
  if (choices.high) tests.push((at) => data.reward[at] != null && data.reward[at] <= Number(choices.high));
  if (choices.text) tests.push((at) => data.text[at] === Number(choices.text));
  if (choices.q) tests.push(finder(choices.q, data));
  const found = [];
  for (let at = 0; at < data.size; at++) if (tests.every((test) => test(at))) found.push(at);
  const column = COLUMNS.some(([name]) => name === choices.by) ? data[choices.by] : null;
  if (column) {
    const sign = choices.down ? -1 : 1;
    found.sort((a, b) => sign * ((column[a] ?? -Infinity) - (column[b] ?? -Infinity)) || a - b);
  }
  return found;
}

function scrolled(list, found, data) {
  const room = el("div", { class: "room" });
  room.style.height = `${Math.min(found.length * ROW, 16_000_000)}px`;
  list.replaceChildren(room);
  let first = -1;
  const draw = () => {
    const from = Math.max(0, Math.floor(list.scrollTop / ROW) - 10);
    if (from === first) return;
    first = from;
    const most = Math.ceil(list.clientHeight / ROW) + 20;
    room.replaceChildren(...found.slice(from, from + most).map((at, index) => rowOf(at, from + index, data)));
  };
  list.addEventListener("scroll", () => requestAnimationFrame(draw));
  draw();
}

function rowOf(at, index, data) {
  const values = [data.step[at], number(data.reward[at]), signed(data.advantage[at]), data.length[at] ?? "–", number(data.surprise[at], 2)];
  const row = el("a", { class: "line", href: address("groups", { at: place(at, data) }) },
    values.map((value) => el("span", { class: "n" }, String(value))),
    el("span", { class: "words" }, line(data.prompts[data.prompt[at]].slice(-400), 120)),
    el("span", { class: "words" }, line(wholeText(at, data), 160), data.truncated[at] && data.ended[at] < 0 ? " ✂" : ""));
  row.style.transform = `translateY(${index * ROW}px)`;
  return row;
}

function wholeText(at, data) {
  const talk = data.talks[at];
  return (talk ? talk.slice(1).map((turn) => data.texts[turn[1]]).join(" | ") : data.texts[data.text[at]]).slice(0, 400);
}

// Equal and nearly equal completions: what is frequent, paid, and became so, is looked at first.

const ALIKE_SHOWN = 60;
const ALIKE_ORDERS = {
  strange: ["frequent, paid and new", (one) => -one.late * Math.max(0, one.paid) * Math.max(0, Math.log((one.late + 1e-4) / (one.early + 1e-4)))],
  count: ["most frequent", (one) => -one.count],
  paid: ["paid most", (one) => -one.paid],
  prompts: ["to most prompts", (one) => -one.prompts.size],
};

async function alike(choices) {
  const data = await rows();
  if (!data.size) return [nothing("This run has kept no completions.")];
  const order = ALIKE_ORDERS[choices.order] || ALIKE_ORDERS.strange;
  const found = alikeOf(data, choices.near !== "exact").filter((one) => one.count > 1);
  const shown = found.map((one) => [order[1](one), one]).sort((a, b) => a[0] - b[0] || b[1].count - a[1].count).slice(0, ALIKE_SHOWN).map(([, one]) => one);
  return [
    el("form", { class: "controls", onsubmit: (event) => event.preventDefault() },
      select("order", "order", Object.entries(ALIKE_ORDERS).map(([name, [label]]) => [name, label]), choices.order || "strange"),
      select("alike", "near", [["near", "but for digits, case, spaces"], ["exact", "to the letter"]], choices.near || "near")),
    el("p", { class: "hint" }, `${many(found.length, "text")} written more than once. A hack is frequent, paid, and was rare at first: early and late are the shares of the first and the last quarter of the steps.`),
    el("div", SCROLLED, el("table", { class: "figures" },
      el("thead", {}, el("tr", {}, ["times", "prompts", "paid", "early", "late", "nats", "such as"].map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, shown.map((one) => el("tr", {},
        [one.count.toLocaleString("en"), one.prompts.size, number(one.paid), percent(one.early), percent(one.late), number(one.surprise, 2)].map((value) => el("td", {}, String(value))),
        el("td", { class: "words" }, examples(one, data))))))),
  ];
}

function examples(one, data) {
  return [...one.texts].slice(0, 3).map((text) => [
    el("a", { href: address("rollouts", { text }) }, line(data.texts[text] || "(empty)", 110)), "   "]);
}

function alikeOf(data, near) {
  const key = near ? "near" : "exact";
  data.alike ||= {};
  return (data.alike[key] ||= clustersOf(data, near));
}

// Small numbers look alike; one of many digits is like those of as many.
function numberShape(digits) {
  return "#".repeat(digits.length <= 3 ? 1 : digits.length);
}

function clustersOf(data, near) {
  const shape = data.texts.map((text) => (near ? text.slice(0, 2000).toLowerCase().replace(/\d+/g, numberShape).replace(/\s+/g, " ").trim() : text));
  const last = data.step.reduce((most, step) => Math.max(most, step), 0), found = new Map();
  const total = { early: 0, late: 0 };
  for (let at = 0; at < data.size; at++) {
    const name = shape[data.text[at]];
    let one = found.get(name);
    if (!one) found.set(name, (one = { count: 0, paid: 0, judged: 0, surprise: 0, early: 0, late: 0, prompts: new Set(), texts: new Set() }));
    one.count++;
    one.surprise += data.surprise[at] || 0;
    one.prompts.add(data.prompt[at]);
    if (one.texts.size < 3) one.texts.add(data.text[at]);
    if (data.reward[at] != null) { one.paid += data.reward[at]; one.judged++; }
    if (data.step[at] <= Math.max(last / 4, 1)) { one.early++; total.early++; }
    if (data.step[at] > last * 0.75) { one.late++; total.late++; }
  }
  for (const one of found.values()) {
    one.paid = one.judged ? one.paid / one.judged : 0;
    one.surprise /= one.count;
    one.early /= total.early || 1;
    one.late /= total.late || 1;
  }
  return [...found.values()];
}
