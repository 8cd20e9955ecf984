// The completions: columns out of the packed blocks, and what is derived from them once.

const STORE = { rows: null, loading: null, tokens: null };

function bytesOf(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const signs = atob(text);
  const bytes = new Uint8Array(signs.length);
  for (let at = 0; at < signs.length; at++) bytes[at] = signs.charCodeAt(at);
  return bytes;
}

// The blocks lie behind this script, so that the first view is there before they are.
const WHOLE = new Promise((done) => addEventListener("DOMContentLoaded", done, { once: true }));

async function unpacked(id) {
  await WHOLE;
  const element = document.getElementById(id);
  const stream = new Blob([bytesOf(element.textContent)]).stream().pipeThrough(new DecompressionStream("gzip"));
  element.remove();
  return new Response(stream);
}

function rows() {
  STORE.loading ||= unpacked("rows").then((data) => data.json()).then(derive);
  return STORE.loading;
}

async function tokens() {
  STORE.tokens ||= Promise.all(["tokens", "shades"].map(async (id) => (await unpacked(id)).arrayBuffer()))
    .then(([ids, shades]) => ({ ids: new Uint32Array(ids), shades: new Uint8Array(shades) }));
  return STORE.tokens;
}

function derive(data) {
  data.size = data.step.length;
  data.groups = groupsOf(data);
  data.of = new Map();
  for (const group of data.groups) for (const at of group.members) data.of.set(at, group);
  data.names = Object.keys(data.parts);
  STORE.rows = data;
  return data;
}

function groupsOf(data) {
  const found = new Map();
  for (let at = 0; at < data.step.length; at++) {
    const key = data.step[at] * 1e7 + data.group[at];
    let group = found.get(key);
    if (!group) found.set(key, (group = { step: data.step[at], group: data.group[at], members: [] }));
    group.members.push(at);
  }
  for (const group of found.values()) describe(group, data);
  return [...found.values()];
}

function describe(group, data) {
  const paid = group.members.map((at) => data.reward[at]).filter((value) => value != null);
  group.teaches = sum(group.members.map((at) => Math.abs(data.advantage[at] || 0)));
  group.mean = paid.length ? sum(paid) / paid.length : null;
  group.kind = data.kind[group.members[0]];
  group.surprise = Math.max(...group.members.map((at) => data.surprise[at] || 0));
  group.against = against(group, data);
  group.prompt = data.prompt[group.members[0]];
  group.row = data.row[group.members[0]];
}

// How much more is paid, in sum, for what the correctness part calls worse.
function against(group, data) {
  const truth = FACTS.correctness && data.parts[FACTS.correctness];
  if (!truth) return 0;
  let wrong = 0;
  for (const one of group.members) {
    for (const other of group.members) {
      if (truth[one] == null || truth[other] == null || truth[one] >= truth[other]) continue;
      wrong += Math.max(0, (data.reward[one] || 0) - (data.reward[other] || 0));
    }
  }
  return wrong;
}

function sum(values) {
  let total = 0;
  for (const value of values) total += value;
  return total;
}

// Whether a row says something: in its prompt, its text or its dialogue. The texts are looked at once each.
function finder(words, data) {
  const wanted = words.toLowerCase();
  data.lower ||= [data.prompts, data.texts].map((texts) => texts.map((text) => text.toLowerCase()));
  const [prompts, texts] = data.lower.map((lower) => lower.map((text) => text.includes(wanted)));
  const talks = (at) => (data.talks[at] || []).some((turn) => texts[turn[1]]);
  return (at) => prompts[data.prompt[at]] || texts[data.text[at]] || talks(at);
}

function place(at, data) {
  return data.step[at] + ":" + data.number[at];
}

function placed(name, data) {
  const [step, count] = name.split(":").map(Number);
  for (let at = 0; at < data.size; at++) if (data.step[at] === step && data.number[at] === count) return at;
  return -1;
}

// What the policy wrote, by token, each as shade of how unlikely it was.
const FARTHEST = 20, NOT_OWN = 255;

function logProb(byte) {
  return byte === NOT_OWN ? null : -FARTHEST * (byte / (NOT_OWN - 1)) ** 2;
}

function shadeOf(byte) {
  const nats = -logProb(byte);
  return nats < 0.1 ? 0 : nats < 0.5 ? 1 : nats < 1.5 ? 2 : nats < 3 ? 3 : nats < 6 ? 4 : 5;
}

function spansOf(data, held, begin, length) {
  const spans = [];
  for (let at = begin; at < begin + length; at++) {
    const piece = data.pieces[held.ids[at]], byte = held.shades[at];
    if (byte === NOT_OWN) { spans.push(...nodesOf(piece)); continue; }
    const chance = Math.exp(logProb(byte));
    const title = `log-probability ${logProb(byte).toFixed(2)} (${percent(chance)})`;
    spans.push(el("span", { class: "t s" + shadeOf(byte), title }, nodesOf(piece)));
  }
  return spans;
}
