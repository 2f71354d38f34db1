// What is asked of the process, and what it says by itself.
//
// Everything takes the token where there is one, also the live stream: an EventSource cannot send an
// Authorization header, so the stream is read with fetch.

import { byId, show } from "./dom.js";

const KEY = "redis-connect-postgres token";
// A tick comes every second. Without one for so long the connection is dead, whatever TCP believes.
const SILENCE = 6000;
const LONGEST_WAIT = 15;

let token = sessionStorage.getItem(KEY);
let asking = null;

/** Whether links that a browser follows by itself, without the token, lead anywhere. */
export function isOpen() {
  return token === null;
}

export class Locked extends Error {
  constructor() {
    super("A token is needed.");
  }
}

/** Asks for the token, once for all who wait. */
function askForToken(wrong) {
  asking ??= new Promise((resolve, reject) => {
    const dialog = byId("token");
    const input = byId("token-input");
    show(byId("token-wrong"), wrong);
    input.value = "";
    const ended = { given: false };
    dialog.querySelector("form").onsubmit = (event) => {
      event.preventDefault();
      token = input.value.trim();
      sessionStorage.setItem(KEY, token);
      ended.given = true;
      dialog.close();
    };
    byId("token-no").onclick = () => dialog.close();
    dialog.addEventListener("close", () => {
      input.value = "";
      asking = null;
      if (ended.given) resolve();
      else reject(new Locked());
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}

function forget(used) {
  if (token === used) {
    token = null;
    sessionStorage.removeItem(KEY);
  }
}

async function ask(path, options = {}) {
  for (;;) {
    if (asking) await asking;
    const used = token;
    let response = null;
    try {
      const headers = new Headers(options.headers);
      if (used) headers.set("Authorization", `Bearer ${used}`);
      response = await fetch(path, { ...options, headers, cache: "no-store" });
    } catch (error) {
      // What cannot stand in a header is no token.
      if (!used || /^[\x21-\x7e]+$/.test(used)) throw error;
    }
    if (response && response.status !== 401) return response;
    // Meanwhile another may have asked for it.
    if (token === used) {
      forget(used);
      await askForToken(Boolean(used));
    }
  }
}

/** Asks for JSON; what the process refuses is an error with its words. */
export async function api(path, { method = "GET", body, signal } = {}) {
  const options = { method, signal };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers = { "Content-Type": "application/json" };
  }
  let response;
  try {
    response = await ask(`api/v1/${path}`, options);
  } catch (error) {
    if (error instanceof Locked || error.name === "AbortError") throw error;
    throw new Error("The process does not answer.");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error ?? `It answers ${response.status}.`);
  return answer;
}

/** Reads server-sent events until the connection ends. */
async function read(signal, alive, onTick) {
  const response = await ask("api/v1/live", { signal, headers: { Accept: "text/event-stream" } });
  if (!response.ok) throw new Error(`It answers ${response.status}.`);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    alive();
    text += value;
    let end = text.indexOf("\n\n");
    while (end >= 0) {
      const lines = text.slice(0, end).split("\n");
      text = text.slice(end + 2);
      const data = lines.filter((line) => line.startsWith("data:")).map((line) => line.slice(5)).join("\n");
      if (data !== "") onTick(JSON.parse(data));
      end = text.indexOf("\n\n");
    }
  }
}

/**
 * Stays connected. `on.tick(tick, first)` for each tick; `on.lost(next)` when the connection is lost,
 * with the time of the next attempt in milliseconds; `on.trying()` when that begins;
 * `on.locked()` when the token was not given, after which `live` is to be called again.
 */
export async function live(on) {
  let wait = 1;
  for (;;) {
    const stop = new AbortController();
    let watchdog = 0;
    const alive = () => {
      clearTimeout(watchdog);
      // Not while a person looks for the token.
      watchdog = setTimeout(() => (asking ? alive() : stop.abort()), SILENCE);
    };
    alive();
    let first = true;
    try {
      await read(stop.signal, alive, (tick) => {
        wait = 1;
        on.tick(tick, first);
        first = false;
      });
    } catch (error) {
      if (error instanceof Locked) {
        on.locked();
        return;
      }
      // Connections end; anything else is a mistake of ours.
      if (error.name !== "AbortError" && !(error instanceof TypeError && first)) console.warn(error);
    } finally {
      clearTimeout(watchdog);
      stop.abort();
    }
    on.lost(Date.now() + wait * 1000);
    await new Promise((resolve) => {
      setTimeout(resolve, wait * 1000);
    });
    wait = Math.min(wait * 2, LONGEST_WAIT);
    on.trying();
  }
}
