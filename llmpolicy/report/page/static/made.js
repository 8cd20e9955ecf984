// How the run was made, and what failed in it.

function faults() {
  if (!FACTS.faults.length) return [nothing("Nothing failed: no reward and no environment.")];
  return [
    el("p", { class: "hint" }, many(FACTS.faults.length, "fault"), ". Each command asks again."),
    el("div", SCROLLED, el("table", { class: "figures" },
      el("thead", {}, el("tr", {}, ["step", "row", "who", "kind", "what happened", "again"].map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, FACTS.faults.map((fault) => el("tr", {},
        [fault.step ?? "–", fault.row ?? "–", fault.who, fault.kind].map((value) => el("td", {}, nodesOf(String(value)))),
        el("td", { class: "words" }, nodesOf(String(fault.why))),
        el("td", { class: "words" }, el("code", {}, nodesOf(fault.again)))))))),
  ];
}

function made() {
  const { manifest, recipe, settings, again, command } = FACTS.made;
  if (!manifest) return [nothing("This is the output of another trainer: its recipe is not known."), missing()];
  return [
    el("section", {}, el("h2", {}, "Make it again"),
      el("pre", { tabindex: "0" }, nodesOf(again)),
      command ? el("p", {}, "It was made by ", el("code", {}, nodesOf(String(command))), ".") : null),
    el("section", {}, el("h2", {}, "Recipe"), el("pre", { tabindex: "0" }, nodesOf(recipe || "recipe.yaml cannot be read."))),
    el("section", {}, el("h2", {}, "Versions and hashes"), tree(manifest)),
    Object.keys(settings).length ? el("details", {}, el("summary", {}, "Every option of the trainer"), tree(settings)) : null,
    el("section", {}, el("h2", {}, "What was not checked"),
      el("ul", {}, FACTS.diagnosis.not_checked.map((check) => el("li", {}, el("code", {}, check.kind), ": ", nodesOf(check.why))),
        el("li", {}, "Whether the hashes above are those of files that lie here now: a page is a picture of what the run wrote."))),
    missing(),
  ];
}

function tree(data) {
  const lines = Object.entries(data).map(([name, value]) => {
    const words = value !== null && typeof value === "object" ? JSON.stringify(value, null, 1) : String(value);
    return [el("dt", {}, nodesOf(name)), el("dd", {}, block(words, { class: "small" }))];
  });
  return el("dl", { class: "tree" }, lines);
}
