// JSON web tokens as an application's backend makes them.
import { constants, createHmac, generateKeyPairSync, sign } from 'node:crypto';

const secret = 'a secret of the tests, 32 bytes long'; // as in settings.toml

const part = value => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

/** A token signed with the secret `key`; `alg` other than HS256 is only claimed. */
export function token(claims, { key = secret, alg = 'HS256' } = {}) {
  const head = `${part({ alg, typ: 'JWT' })}.${part(claims)}`;
  return `${head}.${createHmac('sha256', key).update(head).digest('base64url')}`;
}

/** Seconds since 1970, `offset` seconds from now. */
export function now(offset = 0) {
  return Math.floor(Date.now() / 1000) + offset;
}

const kinds = {
  RS256: { type: 'rsa', options: { modulusLength: 2048 }, hash: 'sha256', how: {} },
  PS256: {
    type: 'rsa',
    options: { modulusLength: 2048 },
    hash: 'sha256',
    how: { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST },
  },
  ES256: { type: 'ec', options: { namedCurve: 'P-256' }, hash: 'sha256', how: { dsaEncoding: 'ieee-p1363' } },
  EdDSA: { type: 'ed25519', options: {}, hash: null, how: {} },
};

/** A key that signs by `alg`. Its public half is a `pem`, or a `jwk`. */
export function keyPair(alg) {
  return signer(alg, undefined, generateKeyPairSync(kinds[alg].type, kinds[alg].options));
}

function signer(alg, id, pair) {
  const { hash, how } = kinds[alg];
  return {
    pem: pair.publicKey.export({ type: 'spki', format: 'pem' }),
    jwk: { ...pair.publicKey.export({ format: 'jwk' }), alg, kid: id, use: 'sig' },
    token(claims) {
      const head = `${part({ alg, kid: id, typ: 'JWT' })}.${part(claims)}`;
      return `${head}.${sign(hash, Buffer.from(head), { key: pair.privateKey, ...how }).toString('base64url')}`;
    },
    /** The same key, used with another algorithm of its kind or under another name. */
    as: (other, name = id) => signer(other, name, pair),
  };
}
