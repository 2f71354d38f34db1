// Numbers, sizes and times as people read them.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 4 });
const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const day = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

export function count(number) {
  return whole.format(number);
}

/** A count where there is little room: from ten million on, its first digits. */
export function brief(number) {
  return number >= 10_000_000 ? compact.format(number) : count(number);
}

export function plural(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

/** A number of up to three digits that matter. */
export function rough(number) {
  return number >= 1000 ? whole.format(number) : short.format(number);
}

export function bytes(number) {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let unit = 0;
  let size = number;
  while (size >= 999.5 && unit < units.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return `${short.format(size)} ${units[unit]}`;
}

/** A duration: `0.8 ms`, `12 s`, `3 min`, `2 h 5 min`. */
export function duration(seconds) {
  if (seconds === 0) return "0 s";
  if (seconds < 1) return `${short.format(seconds * 1000)} ms`;
  if (seconds < 10) return `${short.format(Math.round(seconds * 10) / 10)} s`;
  if (seconds < 90) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
  return `${Math.round(hours / 24)} days`;
}

/** The time of day of something today, else with the date. */
export function moment(time) {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return String(time);
  const today = new Date().toDateString() === date.toDateString();
  return (today ? clock : day).format(date);
}

// The server's clock: the browser's may be wrong, and "3 s ago" must not be.
let offset = 0;

/** The server says that it is now this time. */
export function setClock(time) {
  const given = new Date(time).getTime();
  if (!Number.isNaN(given)) offset = given - Date.now();
}

/** Seconds since then, by the server's clock. */
export function since(time) {
  return Math.max(0, (Date.now() + offset - new Date(time).getTime()) / 1000);
}

/** Seconds until then, by the server's clock. */
export function until(time) {
  return Math.max(0, (new Date(time).getTime() - Date.now() - offset) / 1000);
}

export function ago(time) {
  const seconds = since(time);
  return seconds < 2 ? "now" : `${duration(Math.floor(seconds))} ago`;
}
