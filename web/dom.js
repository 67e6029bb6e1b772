// Making elements. Text gets into the page as text only: nothing here, or anywhere else, makes markup of a string.

/** An element with attributes and children; a string becomes a text node, null and false nothing. */
export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else element.setAttribute(name, value);
  }
  element.append(...kept(children));
  return element;
}

/** The same of SVG, without text. */
export function svg(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes || {})) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const kept = (children) => children.flat().filter((it) => it !== null && it !== undefined && it !== false);

/** Puts these in the place of all children. */
export function fill(element, ...children) {
  element.replaceChildren(...kept(children));
  return element;
}

/** Changes a text only where it differs, so that nothing is painted or read out for nothing. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// A terminal's control sequences and everything else that has no picture, bidirectional controls too: a text of somebody
// else must not turn round what stands beside it.
const UNSEEN = /\u001b\[[0-9;?]*[ -/]*[@-~]|[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g;

/** Somebody else's text, harmless: without what cannot be seen, and not longer than `most` letters. */
export function plain(value, most = 300) {
  const text = (typeof value === "string" ? value : JSON.stringify(value) ?? "").replace(UNSEEN, "\u00b7");
  const letters = text.length > most ? [...text] : text;
  return letters.length > most ? letters.slice(0, most).join("") + "\u2026" : text;
}

/** The same, set apart from the direction of what stands around it. */
export function bdi(value, attributes, most) {
  return h("bdi", attributes, plain(value, most));
}

/** Runs a function at most once in so many milliseconds, the last call included. */
export function throttled(run, ms) {
  let last = 0;
  let timer = 0;
  return () => {
    if (timer) return;
    timer = setTimeout(() => {
      timer = 0;
      last = performance.now();
      run();
    }, Math.max(0, last + ms - performance.now()));
  };
}

/** What this browser keeps; a browser that keeps nothing is as good. */
export const here = {
  get(key) {
    try { return localStorage.getItem(`procwarden.${key}`); } catch { return null; }
  },
  set(key, value) {
    try {
      if (value === null) localStorage.removeItem(`procwarden.${key}`);
      else localStorage.setItem(`procwarden.${key}`, value);
    } catch { /* private mode: for this visit only */ }
  },
};
