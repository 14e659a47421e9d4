"use strict";
// Everything shown comes from DATA and is set as text, never as markup: answers and prompts are users' words.
const DATA = JSON.parse(document.getElementById("data").textContent);
const MAIN = document.getElementById("main");
const CELLS = new Map(DATA.cells.map((cell) => [cell.key, cell]));

// An element with attributes, listeners (on...) and children: nodes, texts, or nothing.
function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

const number = (value) => (value === null || value === undefined ? "-" : value.toLocaleString("en", { maximumFractionDigits: 1 }));
const empty = (value) => value === null || value === undefined || value === "";
const interval = (one) => (!one ? "-" : one.value.toFixed(3) + (empty(one.low) || empty(one.high) ? "" : ` [${one.low.toFixed(3)}, ${one.high.toFixed(3)}]`));
const link = (cell, text) => make("a", { href: `#cell/${cell.key}` }, text);

function compare(a, b) {
  if (empty(a) || empty(b)) return empty(a) - empty(b);
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
}

// A table whose columns sort. columns: {name, of: row -> sort value, show: row -> text or node, number, wide}
function table(caption, columns, rows) {
  let sorted = null, up = true;
  const body = make("tbody");
  const heads = columns.map((column, place) =>
    make("th", { scope: "col", "aria-sort": "none", class: column.number ? "number" : null }, make("button", { type: "button", onclick: () => sort(place) }, column.name)));
  const node = make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    make("table", {}, make("thead", {}, make("tr", {}, heads)), body));
  let current = rows;
  function sort(place) {
    up = sorted === place ? !up : true;
    sorted = place;
    heads.forEach((head, index) => head.setAttribute("aria-sort", index === place ? (up ? "ascending" : "descending") : "none"));
    fill(current);
  }
  function fill(found) {
    current = found;
    const order = [...found];
    if (sorted !== null) {
      const of = columns[sorted].of;
      const missing = (row) => of(row) === null || of(row) === undefined || of(row) === "";
      order.sort((a, b) => (missing(a) !== missing(b) ? missing(a) - missing(b) : (up ? 1 : -1) * compare(of(a), of(b))));
    }
    body.replaceChildren(...order.map((row) => make("tr", {}, columns.map((column) =>
      make("td", { class: column.number ? "number" : column.wide ? "wide" : null }, column.show ? column.show(row) : String(column.of(row) ?? ""))))));
  }
  fill(rows);
  return { node, fill };
}

// Cells: search, filters and the overview

const FILTERS = ["task", "method", "model", "base", "protocol", "status"];
const COLUMNS = [
  { name: "task", of: (cell) => cell.task },
  { name: "method", of: (cell) => cell.method, show: (cell) => link(cell, cell.method) },
  { name: "variant", of: (cell) => cell.variant, wide: true, show: (cell) => make("span", { class: "clamp", title: cell.variant }, cell.variant) },
  { name: "model", of: (cell) => cell.model },
  { name: "metric", of: (cell) => cell.primary[0] },
  { name: "value [95 %]", of: (cell) => cell.metrics[cell.primary[0]]?.value, number: true,
    show: (cell) => (cell.status === "ok" ? interval(cell.metrics[cell.primary[0]]) : make("span", { class: "failed" }, `failed: ${cell.status}`)) },
  { name: "unparsed", of: (cell) => cell.unparsed, number: true, show: (cell) => make("span", { class: cell.unparsed ? "failed" : null }, number(cell.unparsed)) },
  { name: "leaks", of: (cell) => cell.leaking, number: true, show: (cell) => make("span", { class: cell.leaking ? "failed" : null, title: cell.warnings.join("; ") }, number(cell.leaking)) },
  { name: "second", of: (cell) => cell.primary[1] },
  { name: "its value", of: (cell) => cell.metrics[cell.primary[1]]?.value, number: true, show: (cell) => interval(cell.metrics[cell.primary[1]]) },
  { name: "NLL of gold", of: (cell) => cell.nll, number: true, show: (cell) => cell.nll?.toFixed(3) ?? "-" },
  { name: "users", of: (cell) => cell.users, number: true },
  { name: "seconds", of: (cell) => cell.seconds, number: true, show: (cell) => number(cell.seconds) },
  { name: "seed", of: (cell) => cell.seed, number: true },
  { name: "base", of: (cell) => cell.base },
  { name: "protocol", of: (cell) => cell.protocol },
  { name: "data", of: (cell) => cell.data },
  { name: "texts", of: (cell) => (DATA.answers[cell.key] ? "yes" : "no") },
];
const chosen = {};

function overview() {
  const shown = table("Cells", COLUMNS, DATA.cells);
  const count = make("p", { class: "soft", role: "status" });
  const words = (cell) => [...FILTERS.map((name) => cell[name]), cell.variant, cell.key, cell.error ?? ""].join(" ").toLowerCase();
  const index = new Map(DATA.cells.map((cell) => [cell.key, words(cell)]));
  function update() {
    const asked = (chosen.search ?? "").toLowerCase().split(/\s+/).filter(Boolean);
    const found = DATA.cells.filter((cell) => FILTERS.every((name) => !chosen[name] || cell[name] === chosen[name])
      && asked.every((word) => index.get(cell.key).includes(word)));
    count.textContent = `${found.length} of ${DATA.cells.length} cells. Only cells with the same task, data, questions, model, base and protocol may be compared.`;
    shown.fill(found);
  }
  const search = make("input", { type: "search", id: "search", value: chosen.search ?? "", oninput: (event) => { chosen.search = event.target.value; update(); } });
  const selects = FILTERS.map((name) => {
    const values = [...new Set(DATA.cells.map((cell) => cell[name]))].sort();
    const select = make("select", { "data-filter": name, onchange: (event) => { chosen[name] = event.target.value; update(); } },
      make("option", { value: "" }, "all"), values.map((value) => make("option", { value }, value)));
    select.value = chosen[name] ?? "";
    return make("label", {}, name, select);
  });
  update();
  const failed = DATA.cells.filter((cell) => cell.status !== "ok").length;
  const numbers = [["cells", DATA.cells.length], ["failed", failed], ["experiments", DATA.experiments.length],
    ["tasks", new Set(DATA.cells.map((cell) => cell.task)).size], ["methods", new Set(DATA.cells.map((cell) => cell.method)).size]];
  return [make("h2", {}, "Cells"), make("ul", { class: "numbers" }, numbers.map(([name, value]) => make("li", {}, make("b", {}, String(value)), name))),
    make("div", { class: "controls" }, make("label", {}, "search", search), selects), count, shown.node];
}

// Experiments: their tables beside the papers' numbers, and figures

function experiments() {
  const none = make("p", {}, "No experiment has been run into this folder: python -m bench experiment=NAME.");
  return [make("h2", {}, "Experiments"), ...(DATA.experiments.length ? [] : [none]), ...DATA.experiments.map((one, place) =>
    make("details", { open: place === 0, "data-experiment": one.name }, make("summary", {}, `${one.title} (scale ${one.scale}, base ${one.base})`),
      one.grids.map(grid), one.figures.map((figure) => make("figure", {}, make("img", { src: figure.source, alt: figure.alt })))))];
}

function grid(one) {
  const numeric = (text) => { const found = /^[+-]?[\d,]*\.?\d+/.exec(text); return found ? Number(found[0].replaceAll(",", "")) : null; };
  const columns = one.head.map((name, place) => ({
    name, number: place >= one.labels, of: (row) => numeric(row[place]) ?? row[place], show: (row) =>
      make("span", { class: row[place].startsWith("failed") ? "failed" : null }, row[place]),
  }));
  return make("section", {}, make("h3", {}, one.title), one.above.map((line) => make("p", { class: "soft" }, line)),
    // the paper's numbers and ours are two tables: sorting never mixes them
    (one.rule ? [one.rows.slice(0, one.rule), one.rows.slice(one.rule)] : [one.rows]).map((rows) => table(one.title, columns, rows).node), one.below.map((line) => make("p", { class: "soft" }, line)));
}

// One cell: results, settings, users

function detail(cell, user) {
  const metrics = Object.entries(cell.metrics).map(([name, one]) => ({ name, ...one }));
  const facts = (title, values, count) => make("details", {}, make("summary", {}, `${title} (${count ?? Object.keys(values).length})`),
    make("dl", {}, Object.entries(values).flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, typeof value === "string" ? value : JSON.stringify(value))])));
  const phases = Object.entries(cell.cost).map(([name, one]) => ({ name, ...one }));
  const phase = (name) => ({ name: name.replaceAll("_", " "), of: (row) => row[name], number: true, show: (row) => number(row[name]) });
  return [
    make("p", {}, make("a", { href: "#cells" }, "Back to all cells")),
    make("h2", {}, `${cell.method} on ${cell.task}, seed ${cell.seed}`),
    make("p", { class: "soft" }, `${cell.variant}${cell.variant ? " · " : ""}model ${cell.model}, base ${cell.base}, protocol ${cell.protocol}, ${cell.data}, ${cell.users} users · key ${cell.key}`),
    cell.status === "ok" ? null : make("p", { class: "failed" }, `${cell.status}: ${cell.error ?? "no message"}`),
    cell.unscored ? make("p", {}, `Unscored: ${cell.unscored}`) : null,
    cell.warnings.length ? make("ul", { class: "warned", "aria-label": "To know before believing these numbers" }, cell.warnings.map((text) => make("li", {}, text))) : null,
    ...(metrics.length ? [make("h3", {}, "Metrics"), table("Metrics", [{ name: "metric", of: (row) => row.name },
      { name: "value [95 %]", of: (row) => row.value, show: interval, number: true }, { name: "better", of: (row) => DATA.higher[row.name] ? "higher" : "lower" },
      { name: "users", of: (row) => row.users, number: true }], metrics).node,
      make("p", { class: "soft" }, "lenient_ metrics forgive the form of an answer: they are not comparable with published numbers.")] : []),
    make("h3", {}, "Cost"),
    table("Cost", [{ name: "phase", of: (row) => row.name }, ...["seconds", "tokens_in", "tokens_out", "joules"].map(phase),
      { name: "peak memory, MB", of: (row) => row.peak_memory, number: true, show: (row) => number(row.peak_memory / 1e6) }], phases).node,
    make("h3", {}, "Settings and facts"),
    facts("Configuration", cell.config), facts("Counts", cell.counts), facts("Facts of the method", cell.facts), facts("Leaks", cell.leaks, cell.leaking ? `${number(cell.leaking)} found` : "none found"), facts("Environment", cell.environment),
    cell.notes.length ? make("details", { id: "notes" }, make("summary", {}, `Texts on the way: insights, pairs, profiles (${cell.notes.length})`),
      make("dl", {}, cell.notes.flatMap(([name, place]) => [make("dt", {}, name), make("dd", {}, make("pre", { tabindex: 0 }, DATA.texts[place]))]))) : null,
    make("h3", { id: "users" }, "Users"), ...people(cell, user),
  ].filter((part) => part !== null);
}

function people(cell, asked) {
  const answers = DATA.answers[cell.key];
  if (!answers) return [make("p", {}, "The texts of this cell are not here: published cells hold numbers only, and others show them where samples.jsonl is.")];
  const base = CELLS.get(DATA.baselines[cell.key]);
  const before = new Map((base && DATA.answers[base.key] ? DATA.answers[base.key] : []).map((one) => [one.id, one]));
  const byUser = new Map();
  for (const one of answers) byUser.set(one.user, [...(byUser.get(one.user) ?? []), one]);
  const list = make("div", { class: "people", role: "group", "aria-label": "Users" });
  const place = make("div", { "aria-live": "polite" });
  const text = (one) => DATA.texts[one];
  const change = (one) => {
    const old = before.get(one.id);
    return !old || old.value === null || one.value === null ? 0 : Math.sign((one.value - old.value) * (DATA.higher[cell.value] ? 1 : -1));
  };
  const state = { words: "", changed: false };
  function open(user) {
    for (const button of list.children) button.setAttribute("aria-pressed", String(button.dataset.user === user));
    place.replaceChildren(...(byUser.get(user) ?? []).map((one) => question(one)));
    history.replaceState(null, "", `#cell/${cell.key}/${encodeURIComponent(user)}`);
  }
  function question(one) {
    const old = before.get(one.id), how = change(one);
    const score = (value) => (value === null || value === undefined ? "" : `  (${cell.value} ${value.toFixed(3)})`);
    const verdict = how ? make("span", { class: how > 0 ? "better" : "worse" }, how > 0 ? " better than before" : " worse than before") : null;
    return make("article", { "data-question": one.id }, make("h3", {}, `Question ${one.id}`, verdict), make("dl", {},
      make("dt", {}, "gold"), make("dd", { class: "gold" }, one.gold === null ? "not here" : text(one.gold)),
      ...(old ? [make("dt", {}, `before (${base.method})`), make("dd", { class: "before" }, text(old.answer) + score(old.value))] : []),
      make("dt", {}, old ? `after (${cell.method})` : "answer"), make("dd", { class: "after" }, text(one.answer) + score(one.value)),
      make("dt", {}, "tokens"), make("dd", {}, `${one.in} in, ${one.out} out${one.cut ? `, ${one.cut} of the history cut` : ""}`)),
    make("details", {}, make("summary", {}, "Prompt"), make("pre", { tabindex: 0 }, text(one.prompt) || "none: a rule gave the answer")),
    old && old.prompt !== one.prompt ? make("details", {}, make("summary", {}, `Prompt before (${base.method})`), make("pre", { tabindex: 0 }, text(old.prompt))) : null);
  }
  function update() {
    const found = [...byUser].filter(([user, all]) => (!state.changed || all.some((one) => before.get(one.id) && before.get(one.id).answer !== one.answer))
      && (!state.words || [user, ...all.flatMap((one) => [text(one.prompt), text(one.answer), one.gold === null ? "" : text(one.gold)])].join(" ").toLowerCase().includes(state.words)));
    list.replaceChildren(...found.map(([user, all]) => make("button", { type: "button", "data-user": user, "aria-pressed": "false", onclick: () => open(user) },
      `${user} (${all.length})`, all.some((one) => change(one) > 0) ? make("span", { class: "better" }, " better") : null, all.some((one) => change(one) < 0) ? make("span", { class: "worse" }, " worse") : null)));
    count.textContent = `${found.length} of ${byUser.size} users.` + (cell.hidden_users ? ` ${cell.hidden_users} more users are in samples.jsonl but not on this page (--users).` : "");
    const first = found.find(([user]) => user === asked) ?? found[0];
    if (first) open(first[0]);
    else place.replaceChildren();
  }
  const count = make("p", { class: "soft", role: "status" });
  const controls = make("div", { class: "controls" },
    make("label", {}, "search in texts", make("input", { type: "search", id: "search-users", oninput: (event) => { state.words = event.target.value.toLowerCase(); update(); } })),
    base ? make("label", { class: "check" }, make("input", { type: "checkbox", id: "changed", onchange: (event) => { state.changed = event.target.checked; update(); } }), "only users with a changed answer") : null);
  update();
  const told = base ? ["Before: the baseline ", link(base, `${base.method} ${base.key.slice(0, 8)}`), "; after: this cell."] : ["There is no baseline with texts for this cell."];
  return [make("p", {}, told), controls, count, make("div", { class: "users" }, list, place)];
}

// Which view: #cells, #experiments, #cell/KEY, #cell/KEY/USER

function show(moved) {
  const [view, key, user] = location.hash.slice(1).split("/").map(decodeURIComponent);
  const cell = view === "cell" ? CELLS.get(key) : null;
  MAIN.replaceChildren(...(cell ? detail(cell, user) : view === "experiments" ? experiments() : overview()));
  if (moved) { MAIN.focus({ preventScroll: true }); scrollTo(0, 0); }
}
addEventListener("hashchange", () => { if (location.hash !== "#main") show(true); });
show(false);
