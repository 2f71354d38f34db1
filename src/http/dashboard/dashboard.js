// The page: what the process says once a second, and the buttons.
//
//   api.js      asks, with the token; the live stream
//   health.js   what is to be said of a status: healthy or not, and what needs a hand
//   chart.js, tables.js, letters.js, verify.js, events.js   the parts of the page
//
// Nothing that the process said before a connection was lost is shown as if it were so now.

import { api, isOpen, live } from "./api.js";
import { Chart } from "./chart.js";
import { announce, arrange, byId, make, onClick, setAttribute, setText, shape, show, tell } from "./dom.js";
import { Events } from "./events.js";
import { health, notices } from "./health.js";
import { Letters } from "./letters.js";
import { Tables } from "./tables.js";
import { Verify } from "./verify.js";
import { bytes, count, duration, moment, rough, setClock, since } from "./words.js";

const MINUTES = 600;

const tables = new Tables();
const letters = new Letters();
const verify = new Verify();
const events = new Events();
const rateChart = new Chart(byId("chart-rate"), {
  title: "Rows a second", of: (sample) => sample.rows_per_second, words: rough, least: 10,
});
const lagChart = new Chart(byId("chart-lag"), {
  title: "Behind", of: (sample) => sample.lag_seconds, words: duration, least: 1,
});

let status = null;
let samples = [];
const connection = { state: "connecting", lost: 0, next: 0 };
let said = null;

// --- connection and health ---

function showConnection() {
  const { state, lost, next } = connection;
  const words = { live: "Live", connecting: "Connecting…", locked: "No token" };
  let text = words[state];
  if (state === "lost") {
    const wait = Math.ceil((next - Date.now()) / 1000);
    text = `No connection for ${duration(Math.round((Date.now() - lost) / 1000))}; `;
    text += wait > 0 ? `next try in ${wait} s` : "trying again…";
  }
  setText(byId("link-text"), text);
  setAttribute(byId("link"), "data-link", state);
  setAttribute(document.body, "data-link", state);
  rateChart.setLive(state === "live");
  lagChart.setLive(state === "live");
}

function showHealth() {
  const { kind, word, line } = health(status, connection);
  setAttribute(byId("health"), "data-health", kind);
  setAttribute(byId("health-shape"), "href", `#shape-${kind}`);
  setText(byId("health-word"), word);
  setText(byId("health-line"), line);
  document.title = `${word} – ${status?.name ?? "redis-connect-postgres"}`;
  // Said aloud when it changes, not with every tick.
  if (said !== null && said !== word) announce(`${word}. ${line}`);
  said = word;
}

const noticeRows = new Map();

function showNotices() {
  const wanted = connection.state === "locked"
    ? [{ key: "locked", level: "warn", text: "Nothing is shown without the token.", action: ["Enter the token", begin] }]
    : notices(status, connection);
  for (const key of noticeRows.keys()) if (!wanted.some((notice) => notice.key === key)) noticeRows.delete(key);
  arrange(byId("notices"), wanted.map(({ key, level, text, action }) => {
    let row = noticeRows.get(key);
    if (!row) {
      const words = make("span");
      const element = make("li", { class: `notice ${level}` }, shape(level), words);
      if (action) element.append(make("button", { type: "button", text: action[0], click: action[1] }));
      row = { words, element };
      noticeRows.set(key, row);
    }
    setText(row.words, text);
    return row.element;
  }));
  show(byId("hand"), wanted.length > 0);
}

// --- numbers ---

function showNumbers() {
  const { lag, latency, totals, slot_state: slot } = status;
  setText(byId("name"), status.name);
  setText(byId("route"), `${status.source} → ${status.target}`);
  // An instance that waits, or has just begun, knows nothing of it.
  const unknown = status.state === "waiting" || status.state === "starting";
  setText(byId("lag"), unknown ? "–" : lag.seconds > 0 ? duration(lag.seconds) : "Up to date");
  setText(byId("lag-bytes"), unknown ? "not known" : `${bytes(lag.bytes)} of log`);
  setText(byId("rate"), `${rough(status.rows_per_second)} rows/s`);
  setText(byId("rate-total"), `${count(totals.changes)} since it began`);
  const { p50, p99 } = latency;
  setText(byId("latency"), typeof p50 === "number" ? duration(p50) : "–");
  setText(byId("latency-tail"), typeof p99 === "number" ? `99 of 100 within ${duration(p99)}` : "no transaction in the last minute");
  setText(byId("dead"), count(status.dead_letters));
  setText(byId("dead-more"), totals.dead_letters > 0 ? `${count(totals.dead_letters)} since it began` : "none since it began");
  setText(byId("slot"), slot ? `${bytes(slot.retained_bytes)} kept` : "–");
  let more = slot ? slot.status : "not looked at yet";
  if (slot) more += typeof slot.safe_bytes === "number" ? `, ${bytes(slot.safe_bytes)} until it is lost` : ", without a limit";
  setText(byId("slot-more"), more);
  setText(byId("position"), unknown ? "–" : status.position);
  setText(byId("position-more"), unknown ? "not known" : `PostgreSQL: ${status.server_position}`);
  const memory = typeof status.memory_bytes === "number" ? `, ${bytes(status.memory_bytes)} of memory` : "";
  setText(byId("about"), `redis-connect-postgres ${status.version}, began ${moment(status.started)} (${duration(Math.floor(since(status.started)))})${memory}`);
}

function showPause() {
  const button = byId("pause");
  show(button, status !== null);
  const paused = status?.state === "paused";
  if (!button.dataset.busy) setText(button, paused ? "Resume" : "Pause");
  button.classList.toggle("main", paused);
  button.toggleAttribute("data-off", connection.state !== "live");
}

onClick(byId("pause"), byId("done"), async () => {
  const button = byId("pause");
  const resuming = status.state === "paused";
  button.dataset.busy = "yes";
  setText(button, resuming ? "Resuming…" : "Pausing…");
  try {
    const { state } = await api(resuming ? "resume" : "pause", { method: "POST" });
    status.state = state;
    const late = !resuming && state !== "paused";
    tell(byId("done"), late ? "It pauses as soon as it comes to it: it is just trying something again." : "");
  } finally {
    delete button.dataset.busy;
    showPause();
  }
});

// --- log level ---

const LEVELS = ["error", "warn", "info", "debug", "trace"];

function showLevel(level) {
  const select = byId("level");
  const choices = LEVELS.includes(level) ? LEVELS : [...LEVELS, level];
  select.replaceChildren(...choices.map((choice) => make("option", { value: choice, text: choice })));
  select.value = level;
  select.disabled = false;
}

byId("level").addEventListener("change", async () => {
  try {
    const { level } = await api("log-level", { method: "PUT", body: { level: byId("level").value } });
    tell(byId("level-said"), `Log level is ${level} until the process ends.`);
  } catch (error) {
    tell(byId("level-said"), error.message, false);
  }
});

// --- what comes ---

function addSamples(more) {
  for (const sample of more) {
    const at = new Date(sample.time).getTime() / 1000;
    if (samples.length === 0 || at > samples[samples.length - 1].at) samples.push({ ...sample, at });
  }
  const end = samples.length > 0 ? samples[samples.length - 1].at : 0;
  samples = samples.filter((sample) => sample.at > end - MINUTES);
  rateChart.set(samples);
  lagChart.set(samples);
}

/** With a new connection, what does not come by itself. */
async function catchUp() {
  letters.forget();
  verify.look();
  try {
    const [history, { level }] = await Promise.all([api("history"), api("log-level")]);
    const late = samples;
    samples = [];
    addSamples(history);
    addSamples(late);
    showLevel(level);
  } catch {
    // The connection is lost again, which is told already.
  }
}

function onTick(tick, first) {
  if (first) {
    connection.state = "live";
    samples = [];
    show(byId("programs"), isOpen());
    catchUp();
  }
  status = tick.status;
  if (tick.sample) {
    setClock(tick.sample.time);
    addSamples([tick.sample]);
  }
  showConnection();
  showHealth();
  showNotices();
  showNumbers();
  showPause();
  tables.update(status.tables, tick.gone, first);
  events.add(tick.events, first);
  letters.update(status.dead_letters);
}

function showLink(state) {
  connection.state = state;
  showConnection();
  showHealth();
  showNotices();
  showPause();
}

function begin() {
  showLink("connecting");
  live({
    tick: onTick,
    lost: (next) => {
      if (connection.state !== "lost") connection.lost = Date.now();
      connection.next = next;
      showLink("lost");
    },
    trying: showConnection,
    locked: () => showLink("locked"),
  });
}

// How long it has been lost is counted here; nobody else does.
setInterval(() => {
  if (connection.state === "lost") showConnection();
}, 1000);

begin();
