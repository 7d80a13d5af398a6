"use strict";
// The dashboard: asks the gateway for the state again and again and draws it.
//
// Names and messages are a tenant's: they become text nodes, never markup (the page's
// Content-Security-Policy forbids the other way, require-trusted-types-for). The token is kept in
// sessionStorage, which ends with the tab, and goes nowhere but into the Authorization header.

const STATE = "/dashboard/state.json";
const EVERY_MS = 1000;
const PATIENCE_MS = 8000;
const KEPT_SAMPLES = 120;
const TOKEN = "spore-token";
const ALL = "";
// In the order of what a caller waits for, with what that is.
const KINDS = {
  warm: "an idle instance", ahead: "a copy that had loaded the function", fork: "a copy of the zygote",
  restore: "a zygote from its checkpoint", cold: "a zygote that was loaded, or a program",
};

const $ = (id) => document.getElementById(id);
const samples = [];            // {ms, uptime, invocations, errors, calls by function}
let lastState = null;
let chosen = ALL;              // whose latency is shown
let awaySince = 0;             // the gateway itself does not answer
let timer = 0;
let turns = 0;                 // of asking: an answer to an earlier one is not looked at

// ---- words ----

const count = (n) => n.toLocaleString("en");

function scaled(value, units, step) {
  let unit = 0;
  while (value >= step && unit < units.length - 1) {
    value /= step;
    ++unit;
  }
  const digits = unit === 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return `${value.toFixed(digits)} ${units[unit]}`;
}
const bytes = (n) => scaled(n, ["B", "KiB", "MiB", "GiB", "TiB"], 1024);

function duration(us) {
  if (us < 1000) return `${Math.round(us)} µs`;
  if (us < 1e6) return `${(us / 1000).toPrecision(us < 1e5 ? 2 : 3)} ms`;
  return us < 6e7 ? `${(us / 1e6).toPrecision(2)} s` : age(us / 1000);
}

function age(ms) {
  const s = Math.floor(ms / 1000);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}
const rate = (n) => (n >= 100 ? count(Math.round(n)) : n >= 10 ? n.toFixed(1) : n === 0 ? "0" : n.toFixed(2));
const clock = (ms) => new Date(ms).toLocaleTimeString("en-GB");

// ---- elements ----

function put(node, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") node.setAttribute("class", value);
    else if (name in node && node.namespaceURI !== SVG) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);  // strings become text nodes
  return node;
}
const SVG = "http://www.w3.org/2000/svg";
const element = (tag, properties = {}, ...children) => put(document.createElement(tag), properties, children);
const shape = (tag, properties = {}, ...children) => put(document.createElementNS(SVG, tag), properties, children);

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// One row for each item, kept while its key stays: focus, selection and the scrolled place survive.
function rows(body, items, key, make, update) {
  const old = new Map();
  for (const row of [...body.rows]) old.set(row.dataset.key, row);
  const seen = new Set();
  let place = body.firstElementChild;
  for (const item of items) {
    let name = key(item);
    while (seen.has(name)) name += "+";  // two of the same: one ends while the next begins
    seen.add(name);
    let row = old.get(name);
    old.delete(name);
    if (!row) {
      row = make(item);
      row.dataset.key = name;
    }
    update(row, item);
    if (row !== place) body.insertBefore(row, place);
    else place = place.nextElementSibling;
  }
  for (const row of old.values()) row.remove();
}

const cells = (row, texts) => texts.forEach((text, i) => setText(row.cells[i], text));

// ---- what was there a while ago ----

// A map: a function may be called "constructor".
const figuresOf = (state) => new Map(Object.entries(state.latency?.functions ?? {}));

function remember(state) {
  const calls = new Map();
  for (const [name, figures] of figuresOf(state)) calls.set(name, figures.invocations);
  const now = {ms: state.now_unix_ms, uptime: state.spored.uptime_ms, invocations: state.totals.invocations,
               errors: state.totals.errors, calls};
  const before = samples.at(-1);
  if (before && now.ms === before.ms) return;
  if (before && now.uptime < before.uptime) samples.length = 0;  // another spored: its figures began again
  samples.push(now);
  if (samples.length > KEPT_SAMPLES) samples.shift();
}

// Per second, over the last few seconds.
function perSecond(read, span = 5000) {
  const now = samples.at(-1);
  const from = samples.find((sample) => now.ms - sample.ms <= span) ?? now;
  if (from === now) return 0;
  return Math.max(0, (read(now) - read(from)) * 1000 / (now.ms - from.ms));
}

function sparkline() {
  const points = [];
  for (let i = 1; i < samples.length; ++i) {
    const ms = samples[i].ms - samples[i - 1].ms;
    points.push(Math.max(0, samples[i].invocations - samples[i - 1].invocations) * 1000 / ms);
  }
  if (points.length < 2) return [];
  const most = Math.max(...points, 1);
  const line = points.map((value, i) => `${i},${(30 - 29 * value / most).toFixed(1)}`).join(" ");
  const end = points.length - 1;
  return [shape("svg", {viewBox: `0 0 ${end} 31`, preserveAspectRatio: "none", "aria-hidden": "true"},
                shape("polygon", {class: "spark-under", points: `0,31 ${line} ${end},31`}),
                shape("polyline", {class: "spark", points: line}))];
}

// ---- the panels ----

function tiles(state) {
  const totals = state.totals;
  const calls = perSecond((sample) => sample.invocations);
  const bad = perSecond((sample) => sample.errors);
  const held = memoryParts(state).reduce((sum, part) => sum + part.bytes, 0);
  const events = state.events ?? {waiting: 0, running: 0, dead: 0};
  const busy = totals.instances_live - totals.instances_idle;
  const list = [
    ["calls", "Calls", rate(calls), "/s", `${count(totals.invocations)} in all, of ${count(totals.functions)} functions`, sparkline()],
    ["failures", "Failures", rate(bad), "/s", `${count(totals.errors)} in all; ${count(totals.overloaded)} refused`],
    ["median", "Median latency", totals.invocations ? duration(totals.latency_p50_us) : "–", "",
     totals.invocations ? `99 % within ${duration(totals.latency_p99_us)}` : "nothing was called yet"],
    ["instances", "Instances", count(totals.instances_live), `${count(busy)} busy`,
     `${count(totals.queued)} calls wait; ${count(totals.sandboxes_ready)} sandboxes ready`],
    ["held", "Memory", bytes(held), "", `${bytes(state.spored.memory_bytes)} of it spored's own`],
    ["events", "Events and sessions", count(events.waiting + events.running), "events",
     `${count(events.dead)} dead letters; ${count(state.sessions?.running ?? 0)} sessions`],
  ];
  $("tiles").replaceChildren(...list.map(([id, title, value, unit, more, extra = []]) =>
    element("div", {class: "tile", id: `tile-${id}`}, element("h2", {}, title), ...extra,
            element("p", {class: "value"}, value, " ", element("small", {}, unit)),
            element("p", {class: "more", title: more}, more))));
}

function functionRow(item) {
  const pick = element("button", {type: "button", class: "link", title: "its latency"}, item.name);
  pick.addEventListener("click", () => choose(chosen === item.name ? ALL : item.name));
  const row = element("tr", {}, element("th", {scope: "row", class: "name"}, pick, " ", element("span", {class: "quiet"})));
  for (let i = 0; i < 7; ++i) row.append(element("td", {class: i === 5 ? "gap" : "number"}));
  return row;
}

function functions(state) {
  const known = figuresOf(state);
  const list = (state.functions ?? []).map((item) => ({...item, figures: known.get(item.name)}));
  const callsOf = (item) => item.figures?.invocations ?? 0;
  list.sort((a, b) => callsOf(b) - callsOf(a) || a.name.localeCompare(b.name));
  rows($("functions").tBodies[0], list, (item) => item.name, functionRow, (row, item) => {
    const figures = item.figures;
    const words = item.description || `${item.image || item.runtime} · ${item.handler}`;
    setText(row.cells[0].lastElementChild, words);
    row.cells[0].title = `${item.image || item.runtime} · ${item.handler} · version ${item.version}`;
    row.cells[0].firstElementChild.setAttribute("aria-pressed", String(chosen === item.name));
    const use = item.use;
    const parts = [["busy", use.busy], ["idle", use.idle], ["starting", use.starting]].filter(([, n]) => n > 0);
    cells({cells: [...row.cells].slice(1)}, [
      rate(perSecond((sample) => sample.calls.get(item.name) ?? 0)), figures ? count(figures.invocations) : "–",
      figures ? count(figures.failures) : "–", figures?.p50_us ? duration(figures.p50_us) : "–",
      figures?.p99_us ? duration(figures.p99_us) : "–", parts.map(([word, n]) => `${count(n)} ${word}`).join(", ") || "none",
      use.memory_bytes ? bytes(use.memory_bytes) : "–"]);
    row.cells[3].classList.toggle("bad", Boolean(figures?.failures));
  });
  $("functions").hidden = list.length === 0;
  $("no-functions").hidden = list.length !== 0;
  const more = state.functions_left_out || state.functions_more;
  setText($("functions-note"), `${count(list.length)} shown${more ? "; there are more" : ""}`);
}

function choose(name) {
  chosen = name;
  if (lastState) draw(lastState);
}

function latencyChoice(state) {
  const select = $("latency-of");
  const names = [...figuresOf(state).keys()].sort();
  if (chosen !== ALL && !names.includes(chosen)) chosen = ALL;
  const wanted = [ALL, ...names];
  if (JSON.stringify([...select.options].map((option) => option.value)) !== JSON.stringify(wanted)) {
    select.replaceChildren(...wanted.map((name) => element("option", {value: name}, name === ALL ? "all functions" : name)));
  }
  select.value = chosen;
}

function latency(state) {
  latencyChoice(state);
  const figures = chosen === ALL ? state.latency?.all : figuresOf(state).get(chosen);
  const kinds = Object.keys(KINDS).filter((kind) => figures?.kinds[kind]?.count);
  if (kinds.length === 0) {
    const word = state.latency ? "Nothing was called yet." : "spored does not tell.";
    $("latency").replaceChildren(element("p", {class: "empty"}, word));
    return;
  }
  $("latency").replaceChildren(lanes(figures, kinds, state.latency.bins_per_octave));
}

// A lane for each start kind over one logarithmic axis of time, each to its own height.
function lanes(figures, kinds, perOctave) {
  const box = $("latency").getBoundingClientRect();
  const width = Math.max(320, Math.round(box.width)), height = Math.max(160, Math.round(box.height));
  const used = kinds.flatMap((kind) => figures.kinds[kind].bins.map(([bin]) => bin));
  const first = Math.min(...used) - 1, last = Math.max(...used, first + 3 * perOctave) + 1;
  const left = 4, right = width - 4, bottom = height - 20, lane = bottom / kinds.length;
  const x = (bin) => left + (right - left) * (bin - first) / (last + 1 - first);
  const xOf = (us) => x(Math.log2(Math.max(us, 1)) * perOctave);
  const svg = shape("svg", {viewBox: `0 0 ${width} ${height}`, role: "img"});
  for (let us = 1; us < 1e10; us *= 10) {
    if (xOf(us) < left || xOf(us) > right) continue;
    const middle = Math.min(Math.max(xOf(us), left + 20), right - 20);
    svg.append(shape("line", {class: "grid", x1: xOf(us), x2: xOf(us), y1: 0, y2: bottom}),
               shape("text", {class: "quiet", x: middle, y: height - 5, "text-anchor": "middle"}, duration(us)));
  }
  kinds.forEach((kind, i) => svg.append(oneLane(kind, figures.kinds[kind], lane * i, lane, x, xOf, perOctave, width)));
  svg.setAttribute("aria-label", kinds.map((kind) => `${kind}: ${laneWords(figures.kinds[kind])}`).join("; "));
  return svg;
}

const laneWords = (one) => `${count(one.count)} calls, half within ${duration(one.p50_us)}, 99 % within ${duration(one.p99_us)}`;

function oneLane(kind, one, top, height, x, xOf, perOctave, width) {
  const base = top + height - 3, room = Math.max(12, height - 24);
  const most = Math.max(...one.bins.map(([, n]) => n));
  const group = shape("g", {class: kind}, shape("line", {class: "base", x1: 0, x2: width, y1: base, y2: base}));
  for (const [bin, n] of one.bins) {
    const tall = Math.max(1.5, room * n / most);
    const words = `${duration(2 ** (bin / perOctave))} to ${duration(2 ** ((bin + 1) / perOctave))}: ${count(n)}`;
    group.append(shape("rect", {class: "kind-fill", x: x(bin) + 0.5, y: base - tall, width: Math.max(1, x(bin + 1) - x(bin) - 1),
                                height: tall, rx: 1.5}, shape("title", {}, words)));
  }
  for (const [us, style] of [[one.p50_us, "at"], [one.p99_us, "at far"]])
    group.append(shape("line", {class: style, x1: xOf(us), x2: xOf(us), y1: base - room, y2: base}));
  group.append(shape("rect", {class: "kind-fill", x: 4, y: top + 4, width: 10, height: 10, rx: 3}),
               shape("text", {x: 20, y: top + 13, "font-weight": 600}, kind),
               shape("text", {class: "quiet", x: 76, y: top + 13}, laneWords(one)));
  return group;
}

// Of each zygote its children behind it, as `spore zygote ls --tree` draws them.
function inTree(list) {
  const out = [];
  const add = (zygote, indent, branch) => {
    out.push({...zygote, branch: indent + branch});
    if (zygote.set && zygote.state === "draining") return;
    const under = list.filter((other) => other.set && other.image === zygote.image &&
                                         other.generation === zygote.generation && other.parent === zygote.set);
    const inner = branch === "" ? indent : indent + (branch === "└ " ? "  " : "│ ");
    under.forEach((child, i) => add(child, inner, i === under.length - 1 ? "└ " : "├ "));
  };
  for (const zygote of list) if (!zygote.set) add(zygote, "", "");
  return out;
}

function zygoteRow() {
  return element("tr", {}, element("th", {scope: "row"}, element("span", {class: "branch"}), element("span")),
                 element("td", {}, element("span", {class: "dot"}), element("span")),
                 ...[0, 1, 2, 3].map(() => element("td", {class: "number"})));
}

function zygotes(state) {
  const list = inTree(state.zygotes ?? []);
  const key = (item) => JSON.stringify([item.image, item.generation, item.set]);
  rows($("zygotes").tBodies[0], list, key, zygoteRow, (row, item) => {
    const there = item.state !== "absent";
    setText(row.cells[0].firstElementChild, item.branch);
    setText(row.cells[0].lastElementChild, item.set || item.image);
    row.cells[1].firstElementChild.className = `dot ${item.state}`;
    setText(row.cells[1].lastElementChild, there ? `${item.state}, ${age(state.now_unix_ms - item.started_unix_ms)}` : item.state);
    row.title = item.reason || `pid ${item.pid}, generation ${item.generation}`;
    row.classList.toggle("quiet", !there);
    const start = item.set ? item.import_us : item.start_us;
    const held = item.memory_bytes || (item.set ? item.unique_bytes : item.loaded_bytes);
    cells({cells: [...row.cells].slice(2)}, [
      there ? `${count(item.ready)}${item.spare ? ` + ${count(item.spare)}` : ""}` : "–", there ? count(item.forks) : "–",
      start ? `${duration(start)}${item.start_kind === "restore" ? " restored" : ""}` : "–", held ? bytes(held) : "–"]);
  });
  $("zygotes").hidden = list.length === 0;
  $("no-zygotes").hidden = list.length !== 0;
}

function meterRow() {
  return element("tr", {}, element("th", {scope: "row"}, element("span"), element("span")),
                 element("td", {class: "meter-cell"},
                         shape("svg", {class: "meter", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true"},
                               shape("rect", {height: 10, rx: 1.5}))),
                 element("td", {class: "number"}));
}

function starts(state) {
  const told = state.totals.starts;
  const ahead = state.totals.loaded_ahead;
  const numbers = {...told, ahead, fork: (told.fork ?? 0) - ahead};
  const all = Math.max(1, Object.keys(KINDS).reduce((sum, kind) => sum + (numbers[kind] ?? 0), 0));
  rows($("starts").tBodies[0], Object.keys(KINDS), (kind) => kind, meterRow, (row, kind) => {
    const n = numbers[kind] ?? 0;
    row.className = kind;
    row.title = KINDS[kind];
    row.cells[0].firstElementChild.className = "swatch";
    setText(row.cells[0].lastElementChild, kind);
    const bar = row.querySelector("rect");
    bar.setAttribute("class", "kind-fill");
    bar.setAttribute("width", 100 * n / all);
    setText(row.cells[2], count(n));
  });
}

function memoryParts(state) {
  const parts = (state.functions ?? []).map((item) => ({who: item.name, kind: "function", bytes: item.use.memory_bytes}));
  const held = (zygote) => zygote.memory_bytes || (zygote.set ? zygote.unique_bytes : zygote.loaded_bytes);
  const there = (state.zygotes ?? []).filter((zygote) => zygote.state !== "absent" && zygote.pid);
  parts.push({who: "zygotes, as loaded", kind: "zygotes", bytes: there.reduce((sum, zygote) => sum + held(zygote), 0)},
             {who: "scripts and programs", kind: "runs", bytes: state.runs?.memory_bytes ?? 0},
             {who: "sessions", kind: "sessions", bytes: state.sessions?.memory_bytes ?? 0},
             {who: "spored", kind: "spored", bytes: state.spored.memory_bytes});
  return parts.filter((part) => part.bytes > 0).sort((a, b) => b.bytes - a.bytes);
}

function memory(state) {
  const parts = memoryParts(state);
  const most = Math.max(1, ...parts.map((part) => part.bytes));
  rows($("memory").tBodies[0], parts.slice(0, 50), (part) => `${part.kind} ${part.who}`, meterRow, (row, part) => {
    row.cells[0].className = `name ${part.kind === "function" ? "" : "quiet"}`;
    setText(row.cells[0].lastElementChild, part.who);
    row.querySelector("rect").setAttribute("width", 100 * part.bytes / most);
    row.querySelector("rect").setAttribute("class", part.kind === "function" ? "fork kind-fill" : "");
    setText(row.cells[2], bytes(part.bytes));
  });
  setText($("memory-note"), "instances by function");
}

function errorRow() {
  return element("tr", {}, element("td", {class: "quiet"}), element("th", {scope: "row", class: "name"}),
                 element("td", {}, element("span", {class: "badge"})), element("td", {class: "wide"}),
                 element("td", {class: "quiet code"}));
}

function errors(state) {
  const list = [...(state.failed_images ?? []).map((image) => (
    {unix_ms: 0, who: `image ${image.name}`, type: "cannot be used", message: image.reason, id: ""})), ...(state.errors ?? [])];
  rows($("errors").tBodies[0], list, (item) => JSON.stringify([item.unix_ms, item.who, item.type, item.id, item.message]),
       errorRow, (row, item) => {
    setText(row.cells[0], item.unix_ms ? clock(item.unix_ms) : "now");
    setText(row.cells[1], item.who);
    setText(row.cells[2].firstElementChild, item.type);
    row.cells[2].firstElementChild.title = item.type;
    setText(row.cells[3], item.message);
    row.cells[3].title = item.message;
    setText(row.cells[4], item.id);
  });
  $("errors").hidden = list.length === 0;
  $("no-errors").hidden = list.length !== 0;
  const causes = Object.entries(state.latency?.all.failures_by_cause ?? {}).sort((a, b) => b[1] - a[1]);
  setText($("errors-note"), causes.slice(0, 6).map(([cause, n]) => `${cause} ${count(n)}`).join(" · "));
}

function draw(state) {
  lastState = state;
  for (const panel of [tiles, functions, latency, zygotes, starts, memory, errors]) panel(state);
}

// ---- asking ----

function tell(kind, words) {
  $("banner").hidden = !words;
  $("banner").dataset.kind = kind;
  setText($("banner"), words);
}

function show(what) {
  $("board").hidden = what !== "board" || !lastState;
  $("login").hidden = what !== "login";
  $("sign-out").hidden = what === "login" || !sessionStorage.getItem(TOKEN);
}

function pill(state, words) {
  $("live").dataset.state = state;
  setText($("live"), words);
}

function away(words, kind = "bad") {
  tell(kind, words);
  pill("away", "not live");
  show("board");
  $("board").classList.add("stale");
}

function takeState(state) {
  awaySince = 0;
  if (!state.spored.up) {
    away(`spored does not answer since ${clock(state.spored.since_unix_ms)} (${state.spored.reason}); trying again every second.`);
    return;
  }
  remember(state);
  lastState = state;
  $("board").classList.remove("stale");
  show("board");
  setText($("about"), `${state.spored.version ?? ""}, up ${age(state.spored.uptime_ms)}`);
  pill("live", "live");
  tell("warn", (state.problems ?? []).length ? `spored does not tell all: ${state.problems.join("; ")}` : "");
  draw(state);
}

function wantToken(words) {
  sessionStorage.removeItem(TOKEN);
  lastState = null;
  samples.length = 0;
  tell("", "");
  pill("wait", "not signed in");
  setText($("about"), "");
  setText($("login-error"), words);
  show("login");
  $("token").focus();
}

function takeRefusal(response, told) {
  const type = response.headers.get("x-amzn-ErrorType") ?? "";
  if (response.status === 403 && type !== "AccessDeniedException") {
    if (!(response.headers.get("WWW-Authenticate") ?? "").startsWith("Bearer")) {
      away("This gateway takes requests signed with AWS keys alone, which a page cannot make. " +
           "With a token-file it can be looked at here: see spore-gateway(8).");
      return true;
    }
    wantToken(sessionStorage.getItem(TOKEN) ? "The gateway does not know this token." : "");
    return false;
  }
  away(`The gateway answers ${response.status}: ${told?.Message ?? response.statusText}`);
  return true;
}

// Whether to go on asking.
async function ask(turn) {
  const token = sessionStorage.getItem(TOKEN);
  const response = await fetch(STATE, {
    headers: token ? {Authorization: `Bearer ${token}`} : {}, signal: AbortSignal.timeout(PATIENCE_MS),
    credentials: "omit", cache: "no-store", redirect: "error", referrerPolicy: "no-referrer",
  });
  const told = await response.json().catch(() => null);
  if (turn !== turns) return false;
  if (!response.ok) return takeRefusal(response, told);
  takeState(told);
  return true;
}

async function poll() {
  clearTimeout(timer);
  const turn = ++turns;
  if (document.hidden) return pill("wait", "paused");
  let goOn = true;
  try {
    goOn = await ask(turn);
  } catch (error) {
    if (turn !== turns) return;
    awaySince ||= Date.now();
    away(`The gateway does not answer since ${clock(awaySince)}; trying again every second. (${error.message})`);
  }
  if (goOn) timer = setTimeout(poll, EVERY_MS);
}

$("login").addEventListener("submit", (event) => {
  event.preventDefault();
  const token = $("token").value.trim();
  $("token").value = "";
  // What cannot stand in a header is no token.
  if (!/^[\x21-\x7e]+$/.test(token)) return setText($("login-error"), "A token is printable ASCII, without blanks.");
  sessionStorage.setItem(TOKEN, token);
  poll();
});
$("sign-out").addEventListener("click", () => {
  clearTimeout(timer);
  ++turns;
  wantToken("");
});
$("latency-of").addEventListener("change", (event) => choose(event.target.value));
document.addEventListener("visibilitychange", () => document.hidden || poll());
addEventListener("resize", () => lastState && latency(lastState));
poll();
