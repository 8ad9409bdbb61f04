// Server-sent events. A hidden page keeps no stream open.
import { base } from "./api.js";
import { $, setText } from "./dom.js";

const AGAIN = 3000; // milliseconds

/**
 * Follows a stream. `on` has a function for each event's name; `fresh` runs whenever the stream
 * begins, also again.
 * @param {string} path
 * @param {Record<string, (data: any) => unknown>} on
 * @param {() => unknown} fresh
 */
export function follow(path, on, fresh = () => {}) {
  const sign = $("#live");
  /** @type {EventSource | null} */
  let source = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;

  function show(/** @type {string} */ state, /** @type {string} */ words) {
    sign.dataset.state = state;
    setText(sign, words);
  }

  function open() {
    clearTimeout(timer);
    if (source || document.hidden) return;
    source = new EventSource(base + path);
    source.addEventListener("open", () => {
      show("live", "live");
      fresh();
    });
    source.addEventListener("error", () => lost("not connected"));
    source.addEventListener("closing", () => lost("the service is stopping"));
    for (const [name, act] of Object.entries(on)) {
      source.addEventListener(name, (event) => act(JSON.parse(event.data)));
    }
  }

  function close() {
    source?.close();
    source = null;
  }

  function lost(/** @type {string} */ words) {
    close();
    show("lost", words);
    timer = setTimeout(open, AGAIN);
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      close();
      show("resting", "paused while hidden");
    } else {
      open();
    }
  });
  addEventListener("pagehide", close);
  addEventListener("pageshow", (event) => event.persisted && open());
  open();
}

/**
 * Runs `work` at this interval while the page is visible, and never twice at the same time.
 * @param {number} milliseconds
 * @param {() => Promise<unknown>} work
 */
export function regularly(milliseconds, work) {
  let running = false;
  const turn = async () => {
    if (document.hidden || running) return;
    running = true;
    try {
      await work();
    } catch {
      // The state of the stream shows that the service does not answer.
    } finally {
      running = false;
    }
  };
  setInterval(turn, milliseconds);
  document.addEventListener("visibilitychange", turn);
  turn();
}
