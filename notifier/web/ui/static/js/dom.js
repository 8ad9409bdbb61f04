// Elements, and the format of times and numbers. Text is always inserted as text, never as HTML.

/** @type {(selector: string, root?: ParentNode) => HTMLElement} */
export const $ = (selector, root = document) => {
  const found = root.querySelector(selector);
  if (!(found instanceof HTMLElement)) throw new Error(`the page has no ${selector}`);
  return found;
};
/** @type {(selector: string, root?: ParentNode) => HTMLElement[]} */
export const $$ = (selector, root = document) => [...root.querySelectorAll(selector)].filter(isHtml);
/** @type {(element: Element) => element is HTMLElement} */
const isHtml = (element) => element instanceof HTMLElement;

export const form = (/** @type {string} */ selector) => /** @type {HTMLFormElement} */ ($(selector));

/** @type {(form: HTMLFormElement, name: string) => HTMLInputElement} */
export const field = (form, name) => /** @type {HTMLInputElement} */ (form.elements.namedItem(name));

/**
 * An element: h("a", {href: "/", class: "x", onclick: f}, "text", other).
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, any>} given attributes, and listeners by names that begin with "on"
 * @param {Child[]} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function h(tag, given = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null) element.setAttribute(name, value);
  }
  const nodes = /** @type {any[]} */ (children).flat(Number.POSITIVE_INFINITY);
  element.append(...nodes.filter((node) => node !== null));
  return element;
}

/** @type {(element: HTMLElement, text: string) => void} */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** @type {WeakMap<HTMLElement, string>} */
const shown = new WeakMap();

/**
 * Fills the element again, but only if `value` has changed: otherwise a screen reader would
 * read it again, and focus and selection would be lost.
 * @param {HTMLElement} element
 * @param {unknown} value
 * @param {() => (Node | string)[]} make
 */
export function update(element, value, make) {
  const key = JSON.stringify(value);
  if (shown.get(element) === key) return;
  shown.set(element, key);
  element.replaceChildren(...make());
}

const numbers = new Intl.NumberFormat("en");
export const count = (/** @type {number} */ number) => numbers.format(number);
export const plural = (/** @type {number} */ number, /** @type {string} */ one, many = `${one}s`) =>
  `${count(number)} ${number === 1 ? one : many}`;

export function size(/** @type {number} */ octets) {
  if (octets < 1024) return `${octets} B`;
  const kilo = octets / 1024;
  return Math.round(kilo) < 1024 ? `${kilo.toFixed(kilo < 9.95 ? 1 : 0)} kB` : `${(kilo / 1024).toFixed(1)} MB`;
}

export function duration(/** @type {number} */ seconds) {
  const whole = Math.round(seconds);
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  if (whole < 60) return `${seconds < 9.95 ? seconds.toFixed(1) : whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const exact = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

// A time for people. Its title has the date and the year.
export function time(/** @type {string} */ text) {
  const at = new Date(text);
  const today = at.toDateString() === new Date().toDateString();
  const words = today ? clock.format(at) : `${day.format(at)}, ${clock.format(at)}`;
  return h("time", { datetime: text, title: exact.format(at) }, words);
}

// A status with its colour and name.
export const badge = (/** @type {string} */ status) => h("span", { class: `status ${status}` }, status);

// The title of a message in a list or a heading.
export function subjectOf(/** @type {{subject: string, channel?: string}} */ { subject, channel }) {
  return subject || (channel === "sms" ? "Text message" : "(no subject)");
}
