// The group as the unit: a prompt, its completions side by side, what each was paid and why.

const GROUPS_A_PAGE = 8;
const ORDERS = {
  teaches: ["teaches most", (group) => -group.teaches],
  against: ["reward against correctness", (group) => -group.against],
  surprise: ["most surprising", (group) => -group.surprise],
  step: ["by step", (group) => group.step],
  late: ["last step first", (group) => -group.step],
};

async function groups(choices) {
  const data = await rows();
  if (!data.size) return [nothing("This run has kept no completions.")];
  if (choices.at) return oneGroup(choices.at, data);
  const found = chosenGroups(choices, data);
  const order = ORDERS[choices.order] || ORDERS.teaches;
  const ordered = found.map((group) => [order[1](group), group]).sort((a, b) => a[0] - b[0]).map(([, group]) => group);
  const page = Number(choices.page) || 0;
  const shown = ordered.slice(page * GROUPS_A_PAGE, (page + 1) * GROUPS_A_PAGE);
  return [
    groupControls(choices, data),
    el("p", { class: "hint", "aria-live": "polite" }, many(found.length, "group"), choices.prompt ? [" of one prompt; ", el("a", { href: address("groups") }, "all groups")] : ""),
    choices.prompt ? visits(found, data) : null,
    await Promise.all(shown.map((group) => groupOf(group, data))),
    pager(page, Math.ceil(ordered.length / GROUPS_A_PAGE)),
  ];
}

function nothing(words) {
  return el("p", { class: "nothing" }, words);
}

function chosenGroups(choices, data) {
  const inSteps = stepsOf(choices);
  const says = choices.q ? finder(choices.q, data) : null;
  return data.groups.filter((group) => inSteps(group.step)
    && (!choices.kind || group.kind === choices.kind)
    && (!choices.prompt || group.prompt === Number(choices.prompt))
    && (!says || group.members.some(says)));
}

function groupControls(choices, data) {
  const orders = Object.entries(ORDERS).filter(([name]) => name !== "against" || (FACTS.correctness && data.names.length > 1));
  return el("form", { class: "controls", onsubmit: (event) => event.preventDefault() },
    select("order", "order", orders.map(([name, [label]]) => [name, label]), choices.order || "teaches"),
    select("kind", "kind", [["", "all kinds"], ...Object.entries(FACTS.kinds)], choices.kind || ""),
    field("search", "q", choices.q, { type: "search", class: "search" }),
    stepFields(choices));
}

function visits(found, data) {
  const ordered = [...found].sort((a, b) => a.step - b.step).filter((group) => group.mean != null);
  if (ordered.length < 2) return null;
  return el("p", {}, "Mean reward by visit: ", spark(ordered.map((group) => group.mean)), " ",
    ordered.slice(0, 30).map((group) => `${number(group.mean, 2)} `));
}

async function oneGroup(at, data) {
  const found = placed(at, data);
  if (found < 0) return [nothing(`Completion ${at} is not on this page.`)];
  const group = data.of.get(found);
  return [
    el("p", { class: "links" },
      el("a", { href: address("groups") }, "all groups"),
      el("a", { href: address("groups", { prompt: group.prompt, order: "step" }) }, "this prompt through the run"),
      el("a", { href: address("groups", { from: group.step, to: group.step }) }, `all groups of step ${group.step}`)),
    await groupOf(group, data, found),
  ];
}

async function groupOf(group, data, marked) {
  const held = group.members.some((at) => data.tokens[at] >= 0) && data.pieces.length ? await tokens() : null;
  const ordered = unlike(group, data).sort((a, b) => (data.advantage[b[0]] || 0) - (data.advantage[a[0]] || 0) || b.length - a.length);
  const most = Math.max(...group.members.map((at) => Math.abs(data.advantage[at] || 0)), 1e-9);
  const first = place(group.members[0], data);
  return el("section", { class: "group", "aria-label": `group ${first}` },
    el("header", {},
      el("a", { href: address("groups", { at: first }) }, `step ${group.step}, group ${group.group}`),
      el("span", { class: "tag k-" + group.kind }, FACTS.kinds[group.kind]),
      el("span", {}, `mean ${number(group.mean)}, ${many(group.members.length, "completion")}`),
      el("a", { href: address("groups", { prompt: group.prompt, order: "step" }) }, group.row == null ? "this prompt through the run" : `row ${group.row} through the run`)),
    block(data.prompts[group.prompt], { class: "prompt" }),
    el("div", { class: "ones" }, ordered.map((alike) => oneOf(alike, data, held, most, alike.includes(marked)))));
}

// The members of a group, those that wrote the same and were paid the same together.
function unlike(group, data) {
  const found = new Map();
  for (const at of group.members) {
    const key = data.talks[at] ? at : [data.text[at], data.reward[at], data.advantage[at], data.length[at]].join();
    found.set(key, [...(found.get(key) || []), at]);
  }
  return [...found.values()];
}

function oneOf(alike, data, held, most, marked) {
  const at = alike[0];
  const advantage = data.advantage[at];
  const bar = el("span", { class: "bar " + (advantage < 0 ? "down" : "up"), "aria-hidden": "true" });
  bar.style.width = `${Math.round((48 * Math.abs(advantage || 0)) / most)}px`;
  return el("article", { class: "one" + (marked ? " marked" : "") },
    el("header", {},
      el("b", { title: "reward" }, data.reward[at] == null ? "not judged" : number(data.reward[at])),
      el("span", { title: "advantage" }, signed(advantage)), bar,
      alike.length > 1 ? el("span", { class: "times", title: "so many wrote the same" }, `× ${alike.length}`) : null),
    said(at, data, held),
    details(at, data));
}

function said(at, data, held) {
  const begin = held ? data.tokens[at] : -1;
  if (data.talks[at]) return talkOf(at, data, held, begin);
  if (begin < 0) return block(data.texts[data.text[at]]);
  return el("div", { class: "text", dir: "ltr" }, shaded(data, held, begin, data.length[at]));
}

const MOST_SPANS = 600;

function shaded(data, held, begin, length) {
  const nodes = spansOf(data, held, begin, Math.min(length, MOST_SPANS));
  if (length <= MOST_SPANS) return nodes;
  const more = el("button", { type: "button", class: "more" }, `show all ${length.toLocaleString("en")} tokens`);
  more.addEventListener("click", () => more.replaceWith(...spansOf(data, held, begin + MOST_SPANS, length - MOST_SPANS)));
  return [...nodes, " … ", more];
}

// A dialogue as a dialogue: what the model said is marked, and shaded; the first turn is the prompt.
function talkOf(at, data, held, begin) {
  let next = begin;
  return el("ol", { class: "talk" }, data.talks[at].slice(1).map(([role, text, length, reward]) => {
    const own = role === "assistant";
    const body = own && begin >= 0 ? el("div", { class: "text", dir: "ltr" }, shaded(data, held, next, length)) : block(data.texts[text]);
    next += length;
    return el("li", { class: own ? "own" : "heard" }, el("small", {}, role, reward ? ` · paid ${number(reward)}` : ""), body);
  }));
}

function details(at, data) {
  const facts = [];
  if (data.names.length > 1) for (const name of data.names) facts.push([name, number(data.parts[name][at])]);
  for (const [name, column] of Object.entries(data.said)) {
    if (column[at] >= 0) facts.push([name.replace("parsed/", "read by ").replace("why/", "why, "), data.texts[column[at]]]);
  }
  if (data.ended[at] >= 0) facts.push(["ended", data.texts[data.ended[at]] + (data.why[at] >= 0 ? ": " + data.texts[data.why[at]] : "")]);
  const small = [place(at, data)];
  if (data.length[at]) small.push(many(data.length[at], "token"));
  if (data.surprise[at] != null) small.push(`${number(data.surprise[at], 2)} nats`);
  if (data.truncated[at] && data.ended[at] < 0) small.push("cut off");
  return el("footer", {},
    facts.length ? el("dl", {}, facts.map(([name, value]) => [el("dt", {}, nodesOf(name)), el("dd", {}, line(value, 120))])) : null,
    el("small", {}, small.join(" · ")));
}

function pager(page, pages) {
  if (pages < 2) return null;
  const to = (next, label) => el("button", { type: "button", disabled: next < 0 || next >= pages, onclick: () => { choose({ page: next }, { quietly: true }); scrollTo(0, 0); } }, label);
  return el("nav", { class: "pager", "aria-label": "pages" }, to(page - 1, "← before"), el("span", {}, `${page + 1} of ${pages}`), to(page + 1, "next →"));
}
