// Calls of this service's own API. An answer that is a problem becomes an error with its words.

export const base = document.body.dataset.base;
export const manages = "manages" in document.body.dataset;

export async function get(path) {
  return call(path, {});
}

export async function post(path) {
  return call(path, { method: "POST" });
}

export async function remove(path) {
  return call(path, { method: "DELETE" });
}

// The body of an answer that is no JSON, and of what kind it is.
export async function text(path) {
  const answer = await asked(path, {});
  return answer.text();
}

async function call(path, options) {
  const answer = await asked(path, options);
  return answer.json();
}

async function asked(path, options) {
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
  if (!answer.ok) throw new Error(await words(answer));
  return answer;
}

async function words(answer) {
  try {
    return (await answer.json()).detail;
  } catch {
    return `${answer.status} ${answer.statusText}`;
  }
}
