"use strict";
// What every view needs: elements, texts that are data and never markup, addresses of views.

const FACTS = JSON.parse(document.getElementById("facts").textContent);

function el(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  append(made, children);
  return made;
}

function append(place, children) {
  for (const child of children.flat(Infinity)) {
    if (child != null && child !== false) place.append(child);
  }
}

const SVG = "http://www.w3.org/2000/svg";

function svg(tag, attributes, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// Signs that show nothing, or change how others are shown: they are spelled out.
const SIGNS = new RegExp(
  "[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5" +
  "\\u180b-\\u180f\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\u2800\\u3164\\ufe00-\\ufe0e\\ufeff" +
  "\\uffa0\\ufff0-\\uffff\\ud800-\\udfff\\u{1bca0}-\\u{1bca3}\\u{1d173}-\\u{1d17a}\\u{e0000}-\\u{e0fff}]", "u");

function code(sign) {
  return "U+" + sign.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
}

// A text as nodes, its invisible signs as what they are.
function nodesOf(text) {
  if (!SIGNS.test(text)) return [text];
  const nodes = [];
  let held = "";
  for (const sign of text) {
    if (!SIGNS.test(sign)) { held += sign; continue; }
    if (held) nodes.push(held);
    held = "";
    nodes.push(el("span", { class: "sign" }, code(sign)));
  }
  if (held) nodes.push(held);
  return nodes;
}

// A table that is wider than a phone, and is reached by the keyboard.
const SCROLLED = { class: "scroll", tabindex: "0", role: "region", "aria-label": "table" };

// What is to be done once a view stands in the page, where widths are known.
const AFTER = [];

const FIRST = 2000;

// A text in a block of its own; of a long one its beginning, the rest on demand.
function block(text, attributes) {
  const made = el("div", { dir: "ltr", ...attributes, class: "text " + ((attributes || {}).class || "") });
  if (text.length <= FIRST) { append(made, nodesOf(text)); return made; }
  append(made, nodesOf(text.slice(0, FIRST)));
  const more = el("button", { type: "button", class: "more" }, `show all ${text.length.toLocaleString("en")} characters`);
  more.addEventListener("click", () => made.replaceChildren(...nodesOf(text)));
  made.append(" … ", more);
  return made;
}

// One line of a text.
function line(text, most) {
  const flat = text.replace(/\s+/g, " ").trim();
  return nodesOf(flat.length > most ? flat.slice(0, most - 1) + "…" : flat);
}

function number(value, digits = 3) {
  if (value == null) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 1e6)) return Number(value.toPrecision(digits)).toExponential();
  return String(Number(value.toPrecision(digits)));
}

function signed(value) {
  return value == null ? "–" : (value > 0 ? "+" : value < 0 ? "−" : "±") + Math.abs(value).toFixed(2);
}

function percent(share) {
  return share == null ? "–" : (100 * share).toFixed(share > 0 && share < 0.1 ? 1 : 0) + " %";
}

function many(count, one, more) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : more || one + "s"}`;
}

// The address of a view holds all that was chosen in it, so that every view has a link.
function address(view, choices) {
  const chosen = Object.entries(choices || {}).filter(([, value]) => value !== "" && value != null);
  const query = new URLSearchParams(chosen.map(([name, value]) => [name, String(value)])).toString();
  return "#/" + view + (query ? "?" + query : "");
}

function here() {
  const [view, query] = location.hash.replace(/^#\/?/, "").split("?");
  return { view: view || "overview", choices: Object.fromEntries(new URLSearchParams(query || "")) };
}

function choose(changes, { quietly = false } = {}) {
  const { view, choices } = here();
  const next = address(view, { ...choices, ...changes });
  if (next === location.hash) return;
  if (quietly) history.replaceState(null, "", next);
  else location.hash = next;
  if (quietly) render();
}

function select(label, name, options, chosen) {
  const made = el("select", { name, onchange: (event) => choose({ [name]: event.target.value, page: null }, { quietly: true }) });
  for (const [value, text] of options) made.append(el("option", { value, selected: value === chosen }, text));
  return el("label", {}, el("span", {}, label), made);
}

function field(label, name, chosen, attributes) {
  let waiting = 0;
  const write = (event) => {
    clearTimeout(waiting);
    const value = event.target.value;
    waiting = setTimeout(() => choose({ [name]: value, page: null }, { quietly: true }), 120);
  };
  const made = el("input", { name, value: chosen || "", autocomplete: "off", spellcheck: "false", oninput: write, ...attributes });
  return el("label", {}, el("span", {}, label), made);
}

function stepsOf(choices) {
  const from = choices.from ? Number(choices.from) : -Infinity;
  const to = choices.to ? Number(choices.to) : Infinity;
  return (step) => step >= from && step <= to;
}

function stepFields(choices) {
  return [
    field("from step", "from", choices.from, { inputmode: "numeric", size: 5 }),
    field("to step", "to", choices.to, { inputmode: "numeric", size: 5 }),
  ];
}
