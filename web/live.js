// Staying up to date: the stream of events hastens, the lists read every few seconds are the truth, and the page says which
// of the two it has.

import { MANY, Refused, forget, refresh, refresh_registry, state, take_event } from "./data.js";

/** How often the lists are read, in milliseconds; many rows less often. */
const EVERY = 5000;
const EVERY_MANY = 15000;

/** How soon after an event, and the least time between two readings. */
const SOON = 250;

/** How soon it is tried again without a connection. */
const AGAIN = 2000;

/** When a page that nobody sees lets its stream go, and how often it reads from then on: a browser has six connections for
 *  all pages of one server. */
const UNSEEN = 20000;
const EVERY_UNSEEN = 30000;

/** `wait`, `live`, `polling` or `lost`; `since` when the last answer came before it was lost, and when it was seen lost. */
export const link = { state: "wait", answered: null, lost: null };

let on_link = () => {};
let on_locked = () => {};
let stream = null;
let streaming = false;
let timer = 0;
let reading = false;
let wanted = false;
let last = 0;
let retry = 0;
let leaving = 0;
let stopped = false;

/** Begins; `shown` is called when the link changes, `locked` when a token is needed. */
export function begin(shown, locked) {
  on_link = shown;
  on_locked = locked;
  document.addEventListener("visibilitychange", seen);
  window.addEventListener("online", () => soon(0));
  resume();
  if (document.hidden) seen();
}

/** Begins again, as after a token was given. */
export function resume() {
  stopped = false;
  forget();
  listen();
  soon(0);
}

function halt() {
  stopped = true;
  clearTimeout(timer);
  timer = 0;
  leave();
}

/** Somebody looks again, or nobody does. */
function seen() {
  clearTimeout(leaving);
  if (document.hidden) {
    leaving = setTimeout(leave, UNSEEN);
  } else if (!stopped) {
    if (!stream) listen();
    soon(0);
  }
}

function leave() {
  clearTimeout(retry);
  stream?.close();
  stream = null;
  streaming = false;
}

const many = () => state.nodes.size + state.migrations.size > MANY;

/** Reads the lists in so many milliseconds, or earlier if that is planned already. */
function soon(ms) {
  if (stopped) return;
  if (reading) {
    wanted = true;
    return;
  }
  const least = last + (many() ? 2500 : 700) - performance.now();
  const at = performance.now() + Math.max(ms, least, 0);
  if (timer && soon.at <= at) return;
  clearTimeout(timer);
  soon.at = at;
  timer = setTimeout(read, at - performance.now());
}

async function read() {
  timer = 0;
  reading = true;
  wanted = false;
  let next = many() ? EVERY_MANY : EVERY;
  try {
    await refresh();
    await refresh_registry();
    link.answered = Date.now();
    link.lost = null;
    become(streaming ? "live" : "polling");
  } catch (error) {
    if (error instanceof Refused && error.status === 401) {
      halt();
      on_locked(error.message);
    } else {
      console.debug("procwarden does not answer:", error.message);
      link.lost ??= Date.now();
      become("lost");
      next = AGAIN;
    }
  }
  reading = false;
  last = performance.now();
  if (document.hidden && !wanted) next = EVERY_UNSEEN;
  soon(wanted ? SOON : next);
}

function become(name) {
  link.state = name;
  on_link();
}

function listen() {
  leave();
  const source = new EventSource("events");
  stream = source;
  source.onopen = () => {
    streaming = true;
    soon(0);
  };
  source.onerror = () => {
    const was = streaming;
    streaming = false;
    if (stopped) return;
    // It comes back by itself from where it was, unless it was refused.
    if (source.readyState === EventSource.CLOSED) retry = setTimeout(listen, 3000);
    if (was) soon(0);
  };
  // What was missed cannot be told any more: the lists have it.
  source.addEventListener("reset", () => soon(0));
  for (const subject of ["node", "migration"]) {
    source.addEventListener(subject, (message) => {
      try {
        take_event(subject, JSON.parse(message.data));
      } catch (error) {
        console.debug("an event that is not understood:", error.message);
      }
      soon(SOON);
    });
  }
}
