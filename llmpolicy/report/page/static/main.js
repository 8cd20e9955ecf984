// The views, which of them is shown, and the keys.

const VIEWS = {
  overview: ["Overview", overview],
  groups: ["Groups", groups],
  prompts: ["Prompts", prompts],
  changed: ["What changed", changed],
  rollouts: ["All rollouts", rollouts],
  alike: ["Alike", alike],
  faults: ["Faults", faults],
  made: ["How it was made", made],
};

let drawing = 0;

async function render() {
  const { view, choices } = here();
  const name = VIEWS[view] ? view : "overview";
  const turn = ++drawing;
  AFTER.length = 0;
  for (const link of document.querySelectorAll("#views a")) link.toggleAttribute("aria-current", link.dataset.view === name);
  const main = document.querySelector("main");
  if (name === "overview" && main.dataset.view === "overview" && DRAWN.length) {
    document.getElementById("chosen-steps").replaceChildren(...chosenSteps(choices.from, choices.to));
    DRAWN.forEach(mark);
    return;
  }
  const focused = document.activeElement?.name;
  let content;
  try {
    content = await VIEWS[name][1](choices);
  } catch (error) {
    content = [nothing(`This view cannot be drawn: ${error.message}`)];
    console.error(error);
  }
  if (turn !== drawing) return;
  forgetCharts();
  const isNew = main.dataset.view !== name;
  main.dataset.view = name;
  const fresh = document.createDocumentFragment();
  append(fresh, content);
  keepFields(main, fresh);
  main.replaceChildren(fresh);
  for (const then of AFTER.splice(0)) then();
  if (focused && !isNew) refocus(main, focused);
  if (isNew) scrollTo(0, 0);
  main.querySelector(".marked")?.scrollIntoView({ block: "center" });
}

// A field that somebody writes in keeps its text and its caret.
function keepFields(before, fresh) {
  const active = document.activeElement;
  if (!before.contains(active) || active.tagName !== "INPUT") return;
  const next = fresh.querySelector(`input[name="${active.name}"]`);
  if (next) next.value = active.value;
}

function refocus(main, name) {
  const next = main.querySelector(`[name="${name}"]`);
  if (!next) return;
  next.focus({ preventScroll: true });
  if (next.tagName === "INPUT") next.setSelectionRange(next.value.length, next.value.length);
}

function frame() {
  const { verdict, findings: found } = FACTS.diagnosis;
  document.body.prepend(
    el("a", { class: "skip", href: "#main" , onclick: (event) => { event.preventDefault(); document.querySelector("main").focus(); } }, "to the content"),
    el("header", { id: "top" },
      el("h1", {}, nodesOf(FACTS.name)),
      el("p", { class: "verdict " + (found.length ? "bad" : "good") }, el("b", {}, found.length ? "✗ " : "✓ "), nodesOf(verdict)),
      el("dl", { class: "head" }, FACTS.head.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, nodesOf(value))))),
      el("nav", { id: "views", "aria-label": "views" }, Object.entries(VIEWS).map(([name, [label]], at) =>
        el("a", { href: address(name), "data-view": name, title: `key ${at + 1}` }, label, name === "faults" && FACTS.faults.length ? ` (${FACTS.faults.length})` : "")))),
    el("main", { id: "main", tabindex: "-1" }),
    el("footer", { id: "end" }, el("p", {}, nodesOf(FACTS.path), ". Keys: 1 to 8 choose a view, / the search, j and k the next group.")));
}

function keys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  const names = Object.keys(VIEWS), at = Number(event.key) - 1;
  if (names[at]) location.hash = address(names[at]);
  else if (event.key === "/") { const search = document.querySelector(".search"); if (search) { search.focus(); event.preventDefault(); } }
  else if (event.key === "j" || event.key === "k") nextGroup(event.key === "j" ? 1 : -1);
}

function nextGroup(by) {
  const all = [...document.querySelectorAll("section.group")];
  const now = all.findIndex((group) => group.getBoundingClientRect().top > -4);
  const next = all[Math.max(0, by > 0 ? (now < 0 ? all.length : now + (all[now].getBoundingClientRect().top < 8 ? 1 : 0)) : (now < 0 ? all.length : now) - 1)];
  next?.scrollIntoView();
  next?.querySelector("a")?.focus({ preventScroll: true });
}

// A run that goes on: whoever serves the page says when there is more of it.
async function follow() {
  const answer = await fetch("state").then((found) => found.json()).catch(() => null);
  if (answer && answer.state !== FACTS.live) {
    if (here().view === "overview" && !document.hidden && !here().choices.from) { location.reload(); return; }
    if (!document.getElementById("news")) document.getElementById("top").append(el("p", { id: "news", role: "status" }, "The run went on. ",
      el("button", { type: "button", onclick: () => location.reload() }, "show it as it is now")));
  }
  setTimeout(follow, 3000);
}

frame();
render();
addEventListener("hashchange", render);
addEventListener("keydown", keys);
addEventListener("resize", () => requestAnimationFrame(resizeCharts));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { document.querySelector("main").dataset.view = ""; render(); });
if (FACTS.live) follow();
