// The captured tables. There may be thousands: only some are on the page, and of those only what changed is touched.

import { api } from "./api.js";
import { arrange, byId, cell, confirmed, keepTable, make, onClick, setAttribute, setText, show, tell } from "./dom.js";
import { ago, brief, count, moment, plural, rough } from "./words.js";

const STEP = 100;

const which = {
  all: () => true,
  busy: (table) => table.rows_per_second > 0,
  reading: (table) => !table.snapshot.done || table.converging,
  errors: (table) => Boolean(table.last_error) || table.dead_letters > 0,
};

function snapshotWords({ snapshot, converging }) {
  if (!snapshot.done) {
    const { rows, expected } = snapshot;
    if (!expected) return rows > 0 ? `reading: ${plural(rows, "row")}` : "waits to be read";
    // The planner's estimate may be wrong.
    const part = Math.min(99, Math.floor((100 * rows) / expected));
    return `${part} %: ${count(rows)} of about ${count(Math.max(expected, rows))}`;
  }
  return converging ? "catching up" : "done";
}

/** One table's row on the page. */
class Row {
  constructor(name) {
    const told = make("span", { class: "done", hidden: true });
    const again = make("button", { type: "button", "aria-label": `Read ${name} again`, text: "Read again" });
    onClick(again, told, async () => {
      const words = "All its rows are read and written again while the stream goes on. That takes as long as the "
        + "table is large, and puts load on PostgreSQL and Redis.";
      if (!await confirmed(`Read ${name} again?`, words, "Read again")) return;
      await api("snapshots", { method: "POST", body: { tables: [name] } });
      tell(told, "asked for");
      setTimeout(() => show(told, false), 10_000);
    });
    this.bar = make("progress", { max: 1, "aria-label": `Snapshot of ${name}` });
    this.words = make("span");
    this.outputs = make("span", { class: "quiet outputs" });
    this.error = make("span", { class: "error" });
    this.errorTime = make("span", { class: "quiet" });
    const number = (label) => cell(label, { class: "number" });
    this.cells = {
      read: number("Read"), inserted: number("Inserted"), updated: number("Updated"),
      deleted: number("Deleted"), rate: number("Rows/s"), change: cell("Last change"),
    };
    this.deleted = make("span");
    this.truncated = make("span", { class: "also", hidden: true });
    this.cells.deleted.append(this.deleted, this.truncated);
    this.element = make(
      "tr", { role: "row" },
      make("th", { scope: "row", role: "rowheader" }, make("span", { class: "name", text: name }), this.outputs),
      cell("Snapshot", {}, this.words, this.bar),
      ...Object.values(this.cells),
      cell("Last error", { class: "last-error" }, this.errorTime, this.error),
      cell("", { class: "action" }, again, told),
    );
  }

  update(table) {
    const { read, inserted, updated, deleted, truncated } = table.rows;
    setText(this.outputs, table.outputs.map((output) => `${output.type} ${output.key}`).join(", "));
    setText(this.words, snapshotWords(table));
    const reading = !table.snapshot.done;
    show(this.bar, reading);
    if (reading) {
      const { rows, expected } = table.snapshot;
      if (expected) setAttribute(this.bar, "value", String(Math.min(0.99, rows / expected)));
      else this.bar.removeAttribute("value");
    }
    setText(this.cells.read, brief(read));
    setText(this.cells.inserted, brief(inserted));
    setText(this.cells.updated, brief(updated));
    setText(this.deleted, brief(deleted));
    setText(this.truncated, plural(truncated, "truncate"));
    show(this.truncated, truncated > 0);
    setText(this.cells.rate, rough(table.rows_per_second));
    setText(this.cells.change, table.last_change ? ago(table.last_change) : "–");
    if (table.last_change) setAttribute(this.cells.change, "title", moment(table.last_change));
    const error = table.last_error;
    setText(this.errorTime, error ? ago(error.time) : "–");
    setText(this.error, error ? error.error : "");
  }
}

export class Tables {
  constructor() {
    this.body = byId("tables").tBodies[0];
    this.rows = new Map();
    this.all = [];
    this.known = new Map();
    this.names = [];
    this.limit = STEP;
    keepTable(byId("tables"));
    const changed = () => {
      this.limit = STEP;
      this.render();
    };
    byId("tables-find").addEventListener("input", changed);
    byId("tables-which").addEventListener("change", changed);
    byId("tables-more").addEventListener("click", () => {
      this.limit += STEP;
      this.render();
    });
  }

  /** The first time all tables, then those that changed and the names of those that are gone. */
  update(changed, gone, first) {
    if (first) this.known.clear();
    const before = this.known.size;
    for (const table of changed) this.known.set(table.name, table);
    for (const name of gone) this.known.delete(name);
    if (first || gone.length > 0 || this.known.size !== before) {
      this.names = [...this.known.keys()].sort();
    }
    this.all = this.names.map((name) => this.known.get(name));
    this.render();
  }

  render() {
    const find = byId("tables-find").value.trim().toLowerCase();
    const wanted = which[byId("tables-which").value];
    const found = this.all.filter((table) => wanted(table) && table.name.toLowerCase().includes(find));
    const shown = found.slice(0, this.limit);
    const names = new Set(shown.map((table) => table.name));
    for (const name of this.rows.keys()) if (!names.has(name)) this.rows.delete(name);
    arrange(this.body, shown.map((table) => {
      let row = this.rows.get(table.name);
      if (!row) {
        row = new Row(table.name);
        this.rows.set(table.name, row);
      }
      row.update(table);
      return row.element;
    }));
    show(byId("tables"), shown.length > 0);
    show(byId("tables-more"), found.length > shown.length);
    let words = plural(found.length, "table");
    if (found.length < this.all.length) words += ` of ${count(this.all.length)}`;
    if (shown.length < found.length) words += `, the first ${count(shown.length)} shown`;
    setText(byId("tables-count"), words);
  }
}
