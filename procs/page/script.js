"use strict";

const EVERY_MS = 1000, PATIENCE_MS = 2500, GONE_MS = 3500, SILENT_MS = 5000, SHOWN_S = 300, RATE_OVER_S = 5, GAP_S = 4;
const SIGNS = {good: "M5.5 10.5l3 3 6-6.5", warn: "M6 10h8", bad: "M6.5 6.5l7 7m0-7l-7 7"};
const TONES = {waiting: "bad", degraded: "bad", failing: "bad"};
const STATE_TONES = {running: "good", degraded: "bad", backoff: "bad"};
const CALM = {
  healthy: "The mirror follows the source.",
  standby: "Another instance mirrors; this one would take over.",
};
const HINTS = {
  waiting: "clientsync-supervisor check says what is in the way",
  degraded: "the last deaths and the log say why; it is tried on, slowly",
  failing: "the last deaths and the log say why; it starts again by itself",
};

const byId = (id) => document.getElementById(id);
const known = (value) => value !== null && value !== undefined;

// Whatever comes from the daemon is shown as text, never as markup; what is unchanged is left alone.
function write(id, value) {
  const element = typeof id === "string" ? byId(id) : id, text = known(value) ? String(value) : "–";
  if (element.textContent !== text) element.textContent = text;
}

const count = (n) => known(n) ? n.toLocaleString("en") : null;

function duration(s) {
  if (!known(s)) return null;
  if (s < 9.95) return `${s.toFixed(1)} s`;
  if (s < 120) return `${Math.round(s)} s`;
  const minutes = Math.floor(s / 60), hours = Math.floor(minutes / 60), days = Math.floor(hours / 24);
  if (minutes < 60) return `${minutes} min`;
  return hours < 24 ? `${hours} h ${minutes % 60} min` : `${days} d ${hours % 24} h`;
}

const time = (at) => at.toLocaleTimeString("en-GB");

function moment(iso) {
  if (!iso) return null;
  const at = new Date(iso);
  return at.toDateString() === new Date().toDateString() ? time(at) : `${at.toLocaleDateString("en-CA")} ${time(at)}`;
}

// Tables: a row for each item; a cell is a text, or a text with a tone.
function fill(body, names, rows) {
  while (body.rows.length > rows.length) body.deleteRow(-1);
  rows.forEach((cells, index) => {
    let row = body.rows[index];
    if (!row) {
      row = body.insertRow();
      row.setAttribute("role", "row");
      names.forEach((name, column) => {
        const cell = document.createElement(column ? "td" : "th");
        cell.setAttribute("role", column ? "cell" : "rowheader");
        if (!column) cell.scope = "row";
        if (name.label) cell.dataset.name = name.label;
        if (name.style) cell.className = name.style;
        row.append(cell);
      });
    }
    cells.forEach((value, column) => {
      const cell = row.cells[column], {text, tone} = typeof value === "object" && value ? value : {text: value};
      if (tone) cell.dataset.tone = tone;
      const shown = known(text) ? String(text) : "";
      if (cell.textContent !== shown) cell.textContent = shown;
    });
  });
}

const PROCESS = [
  {}, {style: "state"}, {}, {style: "number", label: "pid"}, {style: "number", label: "up"},
  {style: "number restarts", label: "restarts"}, {label: "last death"},
];
const DEATH = [{}, {}, {}, {label: "in phase"}, {}];

function showProcesses(status) {
  const children = (status.children || []).map((child) => {
    const death = child.last_death, state = {text: child.state, tone: STATE_TONES[child.state] || "warn"};
    const restarts = {text: child.restarts, tone: child.restarts ? "warn" : "good"};
    const last = death ? `${death.cause}${death.phase ? ` in ${death.phase}` : ""}, ${moment(death.time)}` : "";
    return [child.name, state, child.phase, child.pid, child.pid ? duration(child.uptime_s) : "", restarts, last];
  });
  fill(byId("processes"), PROCESS, [["supervisor", {text: "running", tone: "good"}, "", status.pid, "", "", ""], ...children]);
  write("restarts", count((status.children || []).reduce((sum, child) => sum + (child.restarts || 0), 0)));
}

function showDeaths(status) {
  const deaths = [...(status.deaths || [])].reverse();
  byId("no-deaths").hidden = deaths.length > 0;
  byId("deaths-table").hidden = deaths.length === 0;
  fill(byId("deaths"), DEATH, deaths.map((d) => [moment(d.time), d.child, d.cause, d.phase, d.reason]));
}

// What the last verify found wrong: in words, and how bad that is still.
function found(verify) {
  const kinds = ["missing", "stale", "orphaned"].filter((kind) => verify?.[kind]);
  if (!kinds.length) return {text: "", tone: "good"};
  const all = kinds.reduce((sum, kind) => sum + verify[kind], 0), right = verify.repaired || 0;
  const again = right ? ` (${right === all ? "all" : count(right)} copied again and right since)` : "";
  return {text: kinds.map((kind) => `${count(verify[kind])} ${kind}`).join(", ") + again, tone: right === all ? "warn" : "bad"};
}

function showScan(scan, verify) {
  const bar = byId("progress");
  bar.hidden = !scan;
  if (!scan) {
    write("scan", "No scan is running.");
  } else {
    const of = known(scan.total) ? ` of ${count(Math.max(scan.total, scan.scanned))}` : "";
    const rate = known(scan.rate) ? `, ${count(Math.round(scan.rate))}/s` : "";
    const left = known(scan.left_s) ? `, ${duration(scan.left_s)} left` : "";
    write("scan", `${scan.kind}: ${count(scan.scanned || 0)}${of}${rate}${left}`);
    if (scan.total) bar.value = Math.min(1, scan.scanned / scan.total); else bar.removeAttribute("value");
  }
  const {text, tone} = found(verify);
  byId("verify").dataset.tone = tone;
  write("verify", verify ? `Last verify ${moment(verify.at)}: ${text || "no difference"}, ${count(verify.compared)} compared.` : "");
}

function showStream(stream) {
  const {lease, standbys} = stream || {};
  write("checkpoint", duration(stream?.checkpoint_age_s));
  write("oplog", duration(stream?.oplog_window_s));
  write("oplog-size", duration(stream?.oplog_size_s));
  write("position", moment(stream?.position_time));
  write("holder", lease ? lease.held && lease.holder ? `${lease.holder}${lease.ours ? " (this one)" : ""}` : "nobody" : null);
  write("standbys", standbys ? standbys.join(", ") || "none" : null);
}

function show(status) {
  const sync = status.sync || {}, mirrors = known(sync.phase);
  for (const name of ["instance", "mode"]) write(name, status[name]);
  write("version", status.clientsync);
  write("mongo", status.mongo_uri);
  write("pending", mirrors ? count(sync.pending) : null);
  write("mirrored", mirrors ? count(sync.mirrored_total) : null);
  write("unmirrorable", mirrors ? count(sync.unmirrorable) : null);
  showProcesses(status);
  showDeaths(status);
  showScan(status.scan, status.verify);
  showStream(status.stream);
}

function why(status) {
  if (status.reason) return status.health in HINTS ? `${status.reason} (${HINTS[status.health]})` : status.reason;
  const {text, tone} = found(status.verify);
  const then = tone === "bad" ? " (clientsync-supervisor verify says whether they still are; start --full repairs)" : "";
  if (text) return `The last verify (${moment(status.verify.at)}) found images that are wrong: ${text}${then}.`;
  return known(status.sync?.phase) ? CALM[status.health] || "" : "This daemon does not mirror; all its processes are at work.";
}

function say(word, reason, note, tone = "warn") {
  byId("hero").dataset.tone = tone;
  byId("sign").setAttribute("d", SIGNS[tone]);
  write("health", word);
  write("reason", reason);
  write("updated", note);
  document.body.classList.toggle("gone", word === "unreachable" || word === "silent");
  const title = `${word} · ${byId("instance").textContent} · clientsync`;
  if (document.title !== title) document.title = title;
}

// Charts. A point: seconds, lag in seconds or null, customers mirrored so far.
let points = [];

function add(point) {
  const last = points.at(-1);
  if (last && point[0] <= last[0]) {
    if (point[0] > last[0] - GAP_S) return;
    points = []; // the clock was set back
  }
  points.push(point);
  points = points.filter(([at]) => at > point[0] - SHOWN_S - 2 * RATE_OVER_S);
}

function rates() {
  let from = 0;
  return points.map(([at, , total], index) => {
    while (from < index && points[from][0] < at - RATE_OVER_S) from += 1;
    const [before, , had] = points[from];
    // A total that has shrunk is that of another daemon.
    return [at, at > before && known(total) && known(had) && total >= had ? (total - had) / (at - before) : null];
  });
}

function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((each) => each >= value * 0.999);
}

function draw(name, series, least, format) {
  const end = points.length ? points.at(-1)[0] : 0, begin = end - SHOWN_S;
  const inside = series.filter(([at, value]) => at >= begin && known(value));
  const highest = Math.max(0, ...inside.map(([, value]) => value)), top = roundUp(Math.max(highest, least));
  let line = "", area = "", open = null, before = null;
  const close = () => { if (open !== null) area += `L${before.x} 120L${open} 120Z`; };
  for (const [at, value] of inside) {
    const x = ((at - begin) * 600 / SHOWN_S).toFixed(1), y = (119 - 117 * value / top).toFixed(1);
    const joins = before && at - before.at < GAP_S;
    if (!joins) { close(); open = x; }
    line += `${joins ? "L" : "M"}${x} ${y}`;
    area += `${joins ? "L" : "M"}${x} ${y}`;
    before = {at, x};
  }
  if (before) close();
  const chart = byId(`${name}-chart`), now = inside.length && inside.at(-1)[0] === end ? inside.at(-1)[1] : null;
  chart.querySelector(".line").setAttribute("d", line);
  chart.querySelector(".area").setAttribute("d", area);
  write(`${name}-top`, format(top));
  write(`${name}-now`, known(now) ? format(now) : null);
  const told = known(now) ? `now ${format(now)}` : "unknown now";
  chart.setAttribute("aria-label", `${name} over the last 5 minutes: ${told}, at most ${format(highest)}`);
}

function drawAll() {
  draw("lag", points.map(([at, lag]) => [at, lag]), 1, (s) => duration(s));
  draw("rate", rates(), 10, (n) => `${n < 9.95 ? n.toFixed(1) : count(Math.round(n))}/s`);
}

// The loop: ask, show, and say so when there is no answer, or always the same.
let answered = null, newest = null, changed = null;

async function ask(path) {
  const response = await fetch(path, {cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS)});
  return response.ok ? response.json() : null;
}

async function recall() {
  const history = await ask("/history.json").catch(() => null);
  if (!history || !history.length) return;
  const first = history[0][0], last = history.at(-1)[0], before = points;
  points = [];
  // Of a web child that was replaced, only we know what was before.
  [...before.filter(([at]) => at < first), ...history, ...before.filter(([at]) => at > last)].forEach(add);
}

function judge() {
  const now = Date.now();
  if (answered && now - answered > GONE_MS) {
    const ago = duration(Math.round((now - answered) / 1000));
    say("unreachable", `No answer since ${time(new Date(answered))}. What follows is from then.`, `for ${ago}`, "bad");
  } else if (newest && now - changed > SILENT_MS) {
    say("silent", `The supervisor has told nothing since ${moment(newest.time)}. What follows is from then.`, "", "bad");
  } else if (newest) {
    const tone = newest.healthy ? found(newest.verify).tone : TONES[newest.health];
    say(newest.healthy && tone === "bad" ? "mirror wrong" : newest.health, why(newest), `as of ${moment(newest.time)}`, tone);
  }
}

async function round() {
  try {
    const status = await ask("/status.json");
    answered = Date.now();
    if (status && status.time !== newest?.time) {
      if (newest && status.pid !== newest.pid) points = [];
      newest = status;
      changed = answered;
      if (known(status.sync?.phase)) add([Date.parse(status.time) / 1000, status.sync.lag_s, status.sync.mirrored_total]);
      show(status);
      drawAll();
    }
  } catch {
    answered ??= Date.now() - GONE_MS;
  }
  judge();
}

async function live() {
  await recall();
  for (;;) {
    await round();
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
  }
}

// A page in the background is slowed down: fill what it has missed.
document.addEventListener("visibilitychange", () => { if (!document.hidden) recall(); });
live();
