// JSON web tokens as an application's backend makes them.
import { createHmac } from 'node:crypto';

const secret = 'a secret of the tests, 32 bytes long'; // as in settings.toml

const part = value => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

/** A token signed with `key`; `alg` other than HS256 is only claimed. */
export function token(claims, { key = secret, alg = 'HS256' } = {}) {
  const head = `${part({ alg, typ: 'JWT' })}.${part(claims)}`;
  return `${head}.${createHmac('sha256', key).update(head).digest('base64url')}`;
}

/** Seconds since 1970, `offset` seconds from now. */
export function now(offset = 0) {
  return Math.floor(Date.now() / 1000) + offset;
}
