// What the page asks of the node, and what is wrong where there is no answer.

const KEPT_AS = 'midplane-console-key';
const PATIENCE_MILLISECONDS = 10_000;

/** Why there is no answer, in words for people. */
export class Trouble extends Error {
  /** `kind` is one of: key, rate, node, refused. */
  constructor(kind, message, { code = 0, wait = 0 } = {}) {
    super(message);
    Object.assign(this, { kind, code, wait });
  }
}

/** The key lives as long as the tab, and travels in a header only. */
export const key = {
  get: () => sessionStorage.getItem(KEPT_AS) ?? '',
  set: value => sessionStorage.setItem(KEPT_AS, value),
  forget: () => sessionStorage.removeItem(KEPT_AS),
};

/** An operator token is a JSON Web Token, an API key anything else. */
export function credentials() {
  const given = key.get();
  if (!given) return {};
  return /^eyJ[\w-]+\.[\w-]+\.[\w-]+$/.test(given) ? { Authorization: `Bearer ${given}` } : { 'X-API-Key': given };
}

/** `GET path`, as JSON. */
export const look = (path, signal) => ask(path, { signal });

/** `POST path` with a JSON body, or with a text that is JSON already. */
export const tell = (path, body, signal) =>
  ask(path, { method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body), headers: { 'content-type': 'application/json' }, signal });

/** A method of the server API: its result. */
export async function call(method, params = {}, signal = undefined) {
  const { result, error } = await tell(`/api/${method}`, params, signal);
  if (error) throw new Trouble('refused', `${error.message} (${error.code})`, { code: error.code });
  return result ?? {};
}

async function ask(path, { signal, headers, ...options }) {
  const signals = [AbortSignal.timeout(PATIENCE_MILLISECONDS), signal].filter(Boolean);
  const init = { ...options, cache: 'no-store', headers: { ...credentials(), ...headers }, signal: AbortSignal.any(signals) };
  let response;
  let text;
  try {
    response = await fetch(path, init);
    text = await response.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    const silent = error.name === 'TimeoutError';
    throw new Trouble('node', silent ? 'The node has not answered within ten seconds.' : 'The node cannot be reached.');
  }
  const answer = read(text);
  if (response.ok) return answer ?? {};
  throw refusal(response, answer);
}

function read(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** What a status means. */
export function refusal(response, answer) {
  const said = answer?.error?.message ?? answer?.message;
  const code = response.status;
  if (code === 401) return new Trouble('key', 'The node refused this key.', { code });
  if (code === 429) {
    const wait = Number(response.headers.get('retry-after')) || 1;
    return new Trouble('rate', 'Too many calls from this address.', { code, wait });
  }
  if (code === 403 && !said) return new Trouble('refused', 'This is closed here: a proxy does not let it through (403).', { code });
  if (code >= 500 && !said) return new Trouble('node', `The node answered ${code}.`, { code });
  return new Trouble(code >= 500 ? 'node' : 'refused', said ? `${said} (${code})` : `The node answered ${code}.`, { code });
}
