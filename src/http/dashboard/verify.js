// The comparison of rows and keys.

import { api, Locked } from "./api.js";
import { arrange, byId, cell, confirmed, keepTable, make, onClick, setText, show, tell } from "./dom.js";
import { count, moment, plural } from "./words.js";

const words = {
  missing_key: "the key is missing",
  surplus_key: "a key that no row has",
  wrong_value: "another value",
  wrong_document: "another document",
  wrong_field: "another value",
  missing_field: "a field is missing",
  surplus_field: "a field that the row has not",
  missing_member: "a member is missing",
  surplus_member: "a member that no row has",
  wrong_score: "another score",
  missing_ttl: "does not expire, although the output has a ttl",
  surplus_ttl: "expires, although the output has no ttl",
};

function differenceRow(difference) {
  const { table, key, kind, part, expected, found, more, repair } = difference;
  const isType = kind === "wrong_type";
  let what = isType ? `is no ${expected}` : words[kind] ?? kind;
  if (part !== undefined) what += `: ${part}`;
  if (more > 0) what += `, and ${count(more)} more`;
  if (repair === "mended") what += " (mended)";
  else if (repair?.failed !== undefined) what += ` (not mended: ${repair.failed})`;
  return make(
    "tr", { role: "row" },
    cell("Table", { text: table }),
    cell("Key", {}, make("span", { class: "name", text: key })),
    cell("What differs", { text: what }),
    cell("The row has", { text: (isType ? undefined : expected) ?? "–" }),
    cell("Redis has", { text: found ?? "–" }),
  );
}

export class Verify {
  constructor() {
    keepTable(byId("differences"));
    const said = byId("verify-said");
    onClick(byId("verify"), said, () => this.begin(false));
    onClick(byId("repair"), said, async () => {
      const text = "Rows that differ are written as they are, and keys, members and fields that no row has are removed.";
      if (await confirmed("Compare and mend?", text, "Compare and mend", true)) await this.begin(true);
    });
  }

  async begin(repair) {
    tell(byId("verify-said"), "");
    this.render(await api("verify", { method: "POST", body: { repair } }));
    await this.follow();
  }

  /** Looks until nothing runs, or until the process does not answer. */
  async follow() {
    if (this.following) return;
    this.following = true;
    try {
      for (;;) {
        const shown = await api("verify");
        this.render(shown);
        if (shown.state !== "running") return;
        await new Promise((resolve) => {
          setTimeout(resolve, 500);
        });
      }
    } finally {
      this.following = false;
    }
  }

  /** Somebody else may have begun one. */
  async look() {
    try {
      await this.follow();
    } catch (error) {
      if (!(error instanceof Locked)) this.lost();
    }
  }

  lost() {
    show(byId("verify-run"), false);
  }

  render(shown) {
    const running = shown.state === "running";
    show(byId("verify-run"), running);
    if (running) {
      const { table, rows, expected } = shown;
      const of = expected > 0 ? ` of about ${count(Math.max(rows, expected))}` : "";
      setText(byId("verify-at"), table ? `${table}: ${count(rows)}${of} rows compared` : "Beginning…");
      const bar = byId("verify-bar");
      if (expected > 0) bar.value = Math.min(0.99, rows / expected);
      else bar.removeAttribute("value");
      return;
    }
    const { state, report, ended, error } = shown;
    if (this.ended === ended || state === "none") return;
    this.ended = ended;
    if (state === "failed") {
      tell(byId("verify-said"), `The comparison failed: ${error}`, false);
    } else {
      const { rows, tables, different, mended } = report;
      let result = different === 0 ? "equal" : `${count(different)} different`;
      if (mended > 0) result += `, ${count(mended)} mended`;
      tell(
        byId("verify-said"),
        `${moment(ended)}: ${plural(rows, "row")} in ${plural(tables.length, "table")} compared: ${result}.`,
        shown.equal,
      );
    }
    const { first = [], notes = [] } = report ?? {};
    arrange(byId("differences").tBodies[0], first.map(differenceRow));
    show(byId("differences"), first.length > 0);
    byId("verify-notes").replaceChildren(...notes.map((note) => make("li", { text: note })));
    show(byId("verify-notes"), notes.length > 0);
  }
}
