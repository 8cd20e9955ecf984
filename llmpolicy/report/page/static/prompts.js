// One prompt through the run; and the held-out answers that changed.

const PROMPTS_SHOWN = 100;
const PROMPT_ORDERS = {
  change: ["changed most", (one) => -Math.abs(one.last - one.first)],
  worse: ["became worse", (one) => one.last - one.first],
  unpaid: ["paid least", (one) => one.best],
  visits: ["seen most often", (one) => -one.values.length],
};

async function prompts(choices) {
  const data = await rows();
  if (!data.size) return [nothing("This run has kept no completions.")];
  const says = (choices.q || "").toLowerCase();
  const order = PROMPT_ORDERS[choices.order] || PROMPT_ORDERS.change;
  const found = visitsOf(data).filter((one) => !says || data.prompts[one.prompt].toLowerCase().includes(says));
  found.sort((a, b) => order[1](a) - order[1](b) || b.values.length - a.values.length);
  const shown = found.slice(0, PROMPTS_SHOWN);
  return [
    el("form", { class: "controls", onsubmit: (event) => event.preventDefault() },
      select("order", "order", Object.entries(PROMPT_ORDERS).map(([name, [label]]) => [name, label]), choices.order || "change"),
      field("search", "q", choices.q, { type: "search", class: "search" })),
    el("p", { class: "hint" }, many(found.length, "prompt"), shown.length < found.length ? `, the first ${shown.length} of them` : ""),
    el("div", SCROLLED, el("table", { class: "figures" },
      el("thead", {}, el("tr", {}, ["prompt", "visits", "first", "last", "best", "mean reward by visit"].map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, shown.map((one) => el("tr", {},
        el("td", { class: "words" }, el("a", { href: address("groups", { prompt: one.prompt, order: "step" }) }, line(data.prompts[one.prompt], 90) )),
        [one.values.length, number(one.first), number(one.last), number(one.best)].map((value) => el("td", {}, String(value))),
        el("td", {}, spark(one.values))))))),
  ];
}

function visitsOf(data) {
  if (data.visits) return data.visits;
  const found = new Map();
  for (const group of [...data.groups].sort((a, b) => a.step - b.step)) {
    if (group.mean == null) continue;
    let one = found.get(group.prompt);
    if (!one) found.set(group.prompt, (one = { prompt: group.prompt, values: [], best: -Infinity }));
    one.values.push(group.mean);
    for (const at of group.members) if (data.reward[at] != null) one.best = Math.max(one.best, data.reward[at]);
  }
  for (const one of found.values()) [one.first, one.last] = [one.values[0], one.values[one.values.length - 1]];
  return (data.visits = [...found.values()]);
}

const TURNS = {
  right: ["turned right", (answer) => answer.greedy === true && answer.base.greedy === false],
  wrong: ["turned wrong", (answer) => answer.greedy === false && answer.base.greedy === true],
  "still-wrong": ["wrong both times", (answer) => answer.greedy === false && answer.base.greedy === false],
  "still-right": ["right both times", (answer) => answer.greedy === true && answer.base.greedy === true],
};

const ANSWERS_SHOWN = 30;

function changed(choices) {
  if (!FACTS.answers.length) return [nothing("No answers before and after are known of this run.")];
  const kind = TURNS[choices.kind] ? choices.kind : "right";
  const counts = Object.entries(TURNS).map(([name, [label, is]]) => [name, label, FACTS.answers.filter(is).length]);
  const found = FACTS.answers.filter(TURNS[kind][1]);
  const page = Number(choices.page) || 0;
  const shown = found.slice(page * ANSWERS_SHOWN, (page + 1) * ANSWERS_SHOWN);
  return [
    el("nav", { class: "facets", "aria-label": "what became of the answers" }, counts.map(([name, label, count]) =>
      el("a", { href: address("changed", { kind: name }), "aria-current": name === kind ? "true" : null }, `${label}: ${count}`))),
    el("p", { class: "hint" }, `Greedy answers to ${many(FACTS.answers.length, "held-out prompt")}, before and after training.`),
    shown.map((answer) => el("section", { class: "group" },
      block(answer.prompt, { class: "prompt" }),
      el("div", { class: "ones two" }, answerOf("before", answer.base), answerOf("after", answer)))),
    pager(page, Math.ceil(found.length / ANSWERS_SHOWN)),
  ];
}

function answerOf(when, answer) {
  const verdict = answer.greedy == null ? "not judged" : answer.greedy ? "right" : "wrong";
  const samples = answer.judged ? `${answer.right} of ${answer.judged} samples right` : "";
  return el("article", { class: "one" }, el("header", {}, el("b", {}, when), el("span", { class: "v-" + verdict }, verdict)),
    block(String(answer.completion ?? "")), el("footer", {}, el("small", {}, samples)));
}
