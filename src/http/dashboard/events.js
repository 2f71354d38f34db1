// What happened lately, as the log has it.

import { arrange, byId, cell, keepTable, make, setText, shape, show } from "./dom.js";
import { count, moment, plural } from "./words.js";

const KEPT = 500;
const STEP = 50;
const shapes = { error: "bad", warn: "warn", info: "info" };
const levels = { error: "error", warn: "warning", info: "info" };
const which = {
  all: () => true,
  warn: (event) => event.level !== "info",
  error: (event) => event.level === "error",
};

function eventRow(event) {
  const level = make("span", { class: `level ${event.level}` }, shape(shapes[event.level] ?? "unknown"), levels[event.level] ?? event.level);
  // Many messages name the table themselves.
  const about = event.table && !event.message.includes(event.table) ? `${event.table}: ` : "";
  return make(
    "tr", { role: "row" },
    cell("When", { class: "when", text: moment(event.time) }),
    cell("Level", {}, level),
    cell("Kind", { class: "kind", text: event.kind.replaceAll("_", " ") }),
    cell("What happened", { class: "message", text: about + event.message }),
  );
}

export class Events {
  constructor() {
    this.list = [];
    this.rows = new Map();
    this.limit = STEP;
    keepTable(byId("events"));
    byId("events-which").addEventListener("change", () => {
      this.limit = STEP;
      this.render();
    });
    byId("events-more").addEventListener("click", () => {
      this.limit += STEP;
      this.render();
    });
  }

  /** The first of a connection has all that the process keeps, which may be another process. */
  add(events, first) {
    if (!first && events.length === 0) return;
    if (first) {
      this.list = [];
      this.rows.clear();
    }
    this.list = [...this.list, ...events].slice(-KEPT);
    this.render();
  }

  render() {
    const found = this.list.filter(which[byId("events-which").value]).reverse();
    const shown = found.slice(0, this.limit);
    const ids = new Set(shown.map((event) => event.id));
    for (const id of this.rows.keys()) if (!ids.has(id)) this.rows.delete(id);
    arrange(byId("events").tBodies[0], shown.map((event) => {
      if (!this.rows.has(event.id)) this.rows.set(event.id, eventRow(event));
      return this.rows.get(event.id);
    }));
    show(byId("events"), shown.length > 0);
    show(byId("events-more"), found.length > shown.length);
    const more = shown.length < found.length ? `, the newest ${count(shown.length)} shown` : "";
    setText(byId("events-count"), plural(found.length, "event") + more);
  }
}
