// Dead letters: rows that Redis refused.

import { api } from "./api.js";
import { announce, arrange, byId, cell, confirmed, keepTable, make, onClick, setAttribute, setText, show, tell } from "./dom.js";
import { count, moment, plural } from "./words.js";

const PAGE = 50;
/** More the process does not give at once. */
const MOST = 1000;
const COLUMNS = 5;
const operations = { r: "read by a snapshot", c: "inserted", u: "updated", d: "deleted", t: "truncate", m: "message" };

/** A letter and, when it is open, all that it says. */
function letterRows(letter, purge) {
  const details = `letter-${letter.id}`;
  const toggle = make("button", {
    type: "button", "aria-expanded": "false", "aria-label": `Details of ${letter.table ?? "a message"} ${letter.key ?? ""}`,
    text: "Details",
  });
  const more = make("tr", { role: "row", id: details, class: "details", hidden: true });
  toggle.addEventListener("click", () => {
    const open = more.hidden;
    if (open && more.childElementCount === 0) more.append(everything(letter, purge));
    show(more, open);
    setAttribute(toggle, "aria-expanded", String(open));
  });
  toggle.setAttribute("aria-controls", details);
  const row = make(
    "tr", { role: "row" },
    cell("When", { text: letter.at ? moment(letter.at) : "" }),
    cell("Table", { text: letter.table ?? "" }),
    cell("Row", {}, make("span", { class: "name", text: letter.key ?? "" }), ` ${operations[letter.op] ?? letter.op ?? ""}`),
    cell("Reason", { class: "error", text: letter.reason ?? "" }),
    cell("", { class: "action" }, toggle),
  );
  return [row, more];
}

// In this order; what else there is comes after.
const fields = ["reason", "command", "table", "key", "row", "old", "unchanged", "cut", "content"];

function everything(letter, purge) {
  const list = make("dl", { class: "fields" });
  const names = [...fields.filter((name) => name in letter), ...Object.keys(letter).filter((name) => !fields.includes(name))];
  for (const name of names) {
    const value = letter[name];
    const text = typeof value === "object" && value !== null ? JSON.stringify(value, null, 2) : String(value);
    list.append(make("dt", { text: name.replace("_", " ") }), make("dd", {}, make("pre", { text })));
  }
  const remove = make("button", { type: "button", class: "risky", text: "Purge this one" });
  onClick(remove, byId("letters-said"), async () => {
    await purge([letter.id]);
    // The button is gone with its letter; the focus goes to what is near.
    if (!remove.isConnected) byId(byId("purge").hidden ? "content" : "purge").focus();
  });
  return make("td", { role: "cell", colspan: String(COLUMNS) }, list, remove);
}

export class Letters {
  constructor() {
    this.body = byId("letters").tBodies[0];
    this.known = null;
    this.rows = new Map();
    this.list = [];
    keepTable(byId("letters"));
    const said = byId("letters-said");
    onClick(byId("replay"), said, async () => {
      this.say("Replaying…");
      await this.replay();
    });
    onClick(byId("purge"), said, () => this.purge());
    onClick(byId("letters-more"), said, () => this.load(true));
  }

  say(text, good = true) {
    tell(byId("letters-said"), text, good);
  }

  /** With every tick: they are only asked for when their number is another one. */
  async update(number) {
    if (number === this.known || this.loading) return;
    this.loading = true;
    try {
      await this.load(false);
      this.known = number;
    } catch (error) {
      // Redis may be away. The next tick tries again, and the page says so meanwhile.
      if (this.known === null) setText(byId("letters-none"), error.message);
    } finally {
      this.loading = false;
    }
  }

  forget() {
    this.known = null;
  }

  async load(older) {
    const last = this.list[this.list.length - 1];
    const before = older && last ? `&before=${encodeURIComponent(last.id)}` : "";
    // As many as were shown: nobody who reads an older one wants it to go because another comes.
    const limit = older ? PAGE : Math.min(MOST, Math.max(PAGE, this.list.length));
    const answer = await api(`dead-letters?limit=${limit}${before}`);
    this.list = older ? [...this.list, ...answer.letters] : answer.letters;
    this.count = answer.count;
    this.render();
  }

  render() {
    const ids = new Set(this.list.map((letter) => letter.id));
    for (const id of this.rows.keys()) if (!ids.has(id)) this.rows.delete(id);
    arrange(this.body, this.list.flatMap((letter) => {
      if (!this.rows.has(letter.id)) this.rows.set(letter.id, letterRows(letter, (list) => this.purge(list)));
      return this.rows.get(letter.id);
    }));
    const some = this.list.length > 0;
    show(byId("letters"), some);
    show(byId("letters-none"), !some);
    setText(byId("letters-none"), "None. Redis has taken every row.");
    show(byId("replay"), some);
    show(byId("purge"), some);
    const left = this.count - this.list.length;
    show(byId("letters-more"), some && left > 0);
    setText(byId("letters-more"), `Show older (${count(Math.max(left, 0))} more)`);
  }

  async replay() {
    const { replayed, remaining, failed } = await api("dead-letters/replay", { method: "POST" });
    const done = `${plural(replayed, "letter")} replayed: written as the row is now.`;
    this.say(remaining === 0 ? done : `${done} ${plural(remaining, "letter")} stay${remaining === 1 ? "s" : ""}:`, remaining === 0);
    const list = byId("letters-failed");
    const words = failed.slice(0, 20).map((stays) => make("li", { text: `${stays.table} ${stays.key}: ${stays.reason}` }));
    if (remaining > words.length) words.push(make("li", { text: `and ${count(remaining - words.length)} more` }));
    list.replaceChildren(...(remaining > 0 ? words : []));
    show(list, remaining > 0);
    await this.load(false);
  }

  async purge(ids) {
    const words = ids
      ? "It is forgotten, and its row is not written."
      : `${plural(this.count, "letter")} and what came meanwhile are forgotten, and their rows are not written. Compare and mend, below, would still find them.`;
    if (!await confirmed(ids ? "Purge this letter?" : "Purge all dead letters?", words, "Purge", true)) return;
    const { removed } = await api("dead-letters/purge", { method: "POST", body: ids ? { ids } : {} });
    show(byId("letters-failed"), false);
    this.say(`${plural(removed, "letter")} removed.`);
    await this.load(false);
    if (this.list.length === 0) announce(`${plural(removed, "letter")} removed, none is left.`);
  }
}
