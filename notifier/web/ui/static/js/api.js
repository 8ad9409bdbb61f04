// Calls of the service's API. A problem in an answer becomes an error with its text.

export const base = document.body.dataset.base ?? "";
export const manages = "manages" in document.body.dataset;
export const sends = "sends" in document.body.dataset;

/** @type {(path: string) => Promise<any>} */
export async function get(path) {
  return (await request(path, {})).json();
}

/** @type {(path: string, body?: object) => Promise<any>} */
export async function post(path, body) {
  const json = body && { headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  return (await request(path, { method: "POST", ...json })).json();
}

/** @type {(path: string) => Promise<any>} */
export async function remove(path) {
  return (await request(path, { method: "DELETE" })).json();
}

/** @type {(path: string) => Promise<string>} */
export async function text(path) {
  return (await request(path, {})).text();
}

// What is at a path in this media type, to be saved.
/** @type {(path: string, kind: string) => Promise<Blob>} */
export async function file(path, kind) {
  return (await request(path, { headers: { Accept: kind } })).blob();
}

/** @type {(path: string, content: Blob, kind: string) => Promise<any>} */
export async function upload(path, content, kind) {
  return (await request(path, { method: "POST", headers: { "Content-Type": kind }, body: content })).json();
}

/** @type {(path: string, options: RequestInit) => Promise<Response>} */
async function request(path, options) {
  let answer;
  try {
    answer = await fetch(base + path, { ...options, credentials: "same-origin", cache: "no-store" });
  } catch {
    throw new Error("the service does not answer");
  }
  if (answer.status === 401) {
    const here = encodeURIComponent(location.pathname + location.search);
    location.assign(`${base}/sign-in?next=${here}`);
  }
  if (!answer.ok) throw new Error(await problem(answer));
  return answer;
}

/** @type {(answer: Response) => Promise<string>} */
async function problem(answer) {
  try {
    return (await answer.json()).detail;
  } catch {
    return `${answer.status} ${answer.statusText}`;
  }
}
