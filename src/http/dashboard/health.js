// What is to be said of a status.

import { bytes, count, duration, moment, plural, since, until } from "./words.js";

/** Free log that is less than this part of all that may be kept is told. */
const SCARCE = 0.1;

function began(status) {
  return status.since ? ` since ${moment(status.since)} (${duration(Math.floor(since(status.since)))})` : "";
}

const states = {
  starting: ["busy", "Starting", "It connects to PostgreSQL and Redis,"],
  waiting: ["busy", "Standing by", "Another instance is at work; this one takes over when that ends. It waits"],
  snapshot: ["busy", "Reading", "The first snapshot is going on,"],
  retrying: ["bad", "In trouble", "Something fails and is tried again,"],
  paused: ["paused", "Paused", "Nothing is read and nothing is written,"],
  stopping: ["busy", "Stopping", "It comes to its end,"],
};

/** Kind (a shape and a colour), a word, and a line. */
export function health(status, connection) {
  if (connection.state === "locked") return { kind: "unknown", word: "Locked", line: "The process wants a token." };
  if (status === null) {
    const lost = connection.state === "lost";
    return { kind: "unknown", word: lost ? "Not known" : "Connecting…", line: lost ? "The process does not answer." : "" };
  }
  if (connection.state !== "live") {
    const line = `No connection to the process. What is below is old; it was ${status.state} then.`;
    return { kind: "unknown", word: "Not known", line };
  }
  const known = states[status.state];
  if (known) return { kind: known[0], word: known[1], line: `${known[2]}${began(status)}.` };
  const streaming = `Streaming${began(status)}.`;
  if (!status.ready) return { kind: "warn", word: "Behind", line: streaming };
  const hand = notices(status, connection).length > 0;
  return { kind: hand ? "warn" : "good", word: hand ? "Needs a hand" : "Healthy", line: streaming };
}

/** What somebody should look at: `key` names the kind, `level` is `bad`, `warn` or `busy`. */
export function notices(status, connection) {
  if (status === null || connection.state !== "live") return [];
  const found = [];
  const say = (key, level, text) => found.push({ key, level, text });
  const { trouble, slot_state: slot } = status;
  if (trouble) {
    const next = until(trouble.next_try);
    const when = next < 1 ? "now" : `in ${duration(Math.ceil(next))}`;
    const tries = trouble.attempts > 1 ? `, ${count(trouble.attempts)} attempts` : "";
    const words = `While ${trouble.what}: ${trouble.error}`;
    say("trouble", "bad", `${words}. Since ${moment(trouble.since)}${tries}; next try ${when}.`);
  }
  if (status.state === "paused") {
    const kept = slot ? `, ${bytes(slot.retained_bytes)} so far` : "";
    say("paused", "paused", `It is paused. PostgreSQL keeps its log meanwhile${kept}. Resume it before the disk is full.`);
  }
  if (status.state === "streaming" && !status.ready && status.not_ready) {
    say("behind", "warn", `Not ready: ${status.not_ready}.`);
  }
  if (slot) {
    const { status: kept, retained_bytes: retained, safe_bytes: safe } = slot;
    if (kept === "lost") {
      say("slot", "bad", `The slot ${status.slot} is lost: PostgreSQL has removed log that was not read yet. All tables are read again.`);
    } else if (kept === "unreserved") {
      say("slot", "bad", `The slot ${status.slot} is about to be lost: PostgreSQL removes its log at the next checkpoint. Raise max_slot_wal_keep_size, or let it catch up.`);
    } else if (typeof safe === "number" && safe < SCARCE * (safe + retained)) {
      say("slot", "warn", `The slot ${status.slot} is lost when ${bytes(Math.max(safe, 0))} more log are written before it catches up (max_slot_wal_keep_size).`);
    }
  }
  if (status.dead_letters > 0) {
    const those = status.dead_letters === 1 ? "It is" : "They are";
    say("letters", "warn", `${plural(status.dead_letters, "row")} could not be written. ${those} under Dead letters, with the reason.`);
  }
  return found;
}
