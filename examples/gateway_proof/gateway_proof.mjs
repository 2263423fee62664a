// Tells whether it is the gateway that calls. One file to copy; it needs nothing but Node.js 20 or newer.
//
// The gateway sends `chatkit-gateway-proof` with each request: a JWT that is good for 30 seconds and says in
// whose name it asks (`sub`), with what body (`body_sha256`), as which operation (`op`) and of which request
// it came (`request_id`). A request that has none, or another one's, is refused with 401:
//
//   const proof = GatewayProof.fromEnv();
//   app.use(express.json({ verify: (req, _res, bytes) => { req.rawBody = bytes; } }));
//   app.post('/chatkit', proof.middleware(), async (req, res) => { … req.gateway.userId … });
//
// Elsewhere: `await proof.verify(headers, bytes)`, which gives who asks, or throws `Refused`.

import { createHash, createHmac, createPublicKey, timingSafeEqual, verify } from 'node:crypto';
import { readFileSync } from 'node:fs';

export const HEADER = 'chatkit-gateway-proof';

/** Why a request is not the gateway's. It is for the log: whoever asked is told nothing of it. */
export class Refused extends Error {}

/**
 * Verifies statements, by secrets that the gateway has one of, or by the keys that it publishes.
 *
 * Two secrets are for the time while they are exchanged: the gateway signs by one of them. With `once` a
 * statement is good for one request: it is remembered while it is good, of at most `remembered` of them, the
 * oldest of which is forgotten first, in this process. Set it to false if something between the two sends a
 * request again by itself.
 */
export class GatewayProof {
  #seen = new Map();

  constructor({
    audience,
    secrets = [],
    jwksUrl = null,
    issuer = 'chatkit-rest',
    userHeader = 'x-user-id',
    leeway = 5,
    once = true,
    remembered = 100_000,
  }) {
    if (!audience) throw new Error('expected an audience');
    if ((secrets.length > 0) === Boolean(jwksUrl)) throw new Error('expected either secrets or a jwksUrl');
    if (secrets.some((secret) => secret.length < 32)) throw new Error('a secret has at least 32 characters');
    this.keys = jwksUrl ? new PublishedKeys(jwksUrl) : null;
    Object.assign(this, { audience, secrets, issuer, userHeader, leeway, once, remembered });
  }

  /**
   * Takes `GATEWAY_PROOF_AUDIENCE` (`http://127.0.0.1:8000`: where the gateway finds this server), and
   * `GATEWAY_PROOF_SECRET_FILE`, `GATEWAY_PROOF_SECRET` or `GATEWAY_PROOF_JWKS_URL`. Null if none of these is
   * set: whoever connects is believed then.
   */
  static fromEnv(env = process.env) {
    const file = env.GATEWAY_PROOF_SECRET_FILE;
    const secret = file ? readFileSync(file, 'latin1').replace(/\r?\n$/, '') : env.GATEWAY_PROOF_SECRET;
    const jwksUrl = env.GATEWAY_PROOF_JWKS_URL;
    if (secret === undefined && jwksUrl === undefined) return null;
    return new GatewayProof({ audience: env.GATEWAY_PROOF_AUDIENCE, secrets: secret ? [secret] : [], jwksUrl });
  }

  /** A middleware for Express, after one that keeps the body's bytes as `req.rawBody`. */
  middleware() {
    return (req, res, next) => {
      // What has no body has none to be kept.
      this.verify(req.headers, req.rawBody ?? Buffer.alloc(0)).then(
        (caller) => {
          req.gateway = caller;
          next();
        },
        (why) => {
          if (!(why instanceof Refused)) return next(why);
          console.warn(`refused: ${why.message}`);
          res.status(401).json({ detail: 'This server is for its gateway.' });
        },
      );
    };
  }

  /** Gives who asks. `headers` are Node's, with names in lower case; `bytes` the body as it came. */
  async verify(headers, bytes) {
    const claims = await this.#claims(String(headers[HEADER] ?? ''));
    // The user that the server believes in is the one who was signed for, and there is no other: Node joins
    // what is said twice.
    if (headers[this.userHeader] !== headerValue(claims.sub)) {
      throw new Refused(`${this.userHeader} is not the statement's user`);
    }
    if (claims.body_sha256 !== createHash('sha256').update(bytes).digest('base64url')) {
      throw new Refused('it was signed for another body');
    }
    if (this.once && !this.firstTime(claims.jti, claims.exp + this.leeway)) {
      throw new Refused('the statement was used before');
    }
    return { userId: claims.sub, operation: claims.op, requestId: claims.request_id, claims };
  }

  /** Remembers a statement. Several processes that shall know the same override it. */
  firstTime(jti, until) {
    const now = Date.now() / 1000;
    for (const [known, end] of this.#seen) {
      if (end >= now) break;
      this.#seen.delete(known);
    }
    if (this.#seen.has(jti)) return false;
    this.#seen.set(jti, until);
    if (this.#seen.size > this.remembered) this.#seen.delete(this.#seen.keys().next().value);
    return true;
  }

  async #claims(token) {
    const parts = token.split('.');
    if (parts.length !== 3) throw new Refused('there is no statement');
    const [header, claims] = [json(parts[0]), json(parts[1])];
    const [signed, signature] = [Buffer.from(`${parts[0]}.${parts[1]}`), Buffer.from(parts[2], 'base64url')];
    // Which algorithm is right is never for the token to say.
    if (header.alg !== (this.keys ? 'EdDSA' : 'HS256')) throw new Refused('signed in another way');
    if (!(await this.#isSigned(header, signed, signature))) throw new Refused('signed by an unknown key');

    const now = Date.now() / 1000;
    const { iss, aud, exp, iat, sub, jti } = claims;
    if (iss !== this.issuer) throw new Refused('of another issuer');
    if (aud !== this.audience) throw new Refused('for another server');
    if (![exp, iat].every(Number.isFinite) || now > exp + this.leeway || now < iat - this.leeway) {
      throw new Refused('not of now');
    }
    if (![sub, jti].every((claim) => typeof claim === 'string')) throw new Refused('it says too little');
    return claims;
  }

  async #isSigned(header, signed, signature) {
    if (this.keys) {
      const key = await this.keys.of(header.kid);
      return key !== undefined && verify(null, signed, key, signature);
    }
    return this.secrets.some((secret) => {
      const expected = createHmac('sha256', secret).update(signed).digest();
      return expected.length === signature.length && timingSafeEqual(expected, signature);
    });
  }
}

/** The gateway's key set, read now and then; what is known is good as long as nothing else can be read. */
class PublishedKeys {
  static MAX_BYTES = 64 * 1024;
  static MAX_KEYS = 16;
  #keys = new Map();
  #readAt = -Infinity;
  #triedAt = -Infinity;
  #reading = null;

  constructor(url) {
    this.url = new URL(url);
  }

  async of(kid) {
    // Those who ask meanwhile wait for the same answer.
    if (this.#isDue(kid)) this.#reading ??= this.#read().finally(() => (this.#reading = null));
    await this.#reading;
    return this.#keys.get(kid);
  }

  #isDue(kid) {
    const now = performance.now();
    if (this.#keys.has(kid) && now < this.#readAt + 300_000) return false;
    // A gateway that has just begun to listen is asked again soon; nobody makes it more than that.
    return now >= this.#triedAt + (this.#keys.size > 0 ? 60_000 : 1000);
  }

  async #read() {
    this.#triedAt = performance.now();
    try {
      const answer = await fetch(this.url, { redirect: 'error', signal: AbortSignal.timeout(5000) });
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      let text = '';
      for await (const piece of answer.body.pipeThrough(new TextDecoderStream())) {
        text += piece;
        if (text.length > PublishedKeys.MAX_BYTES) throw new Error('too large');
      }
      const usable = JSON.parse(text).keys.filter(({ kty, crv }) => kty === 'OKP' && crv === 'Ed25519');
      this.#keys = new Map(
        usable
          .slice(0, PublishedKeys.MAX_KEYS)
          .map((jwk) => [jwk.kid, createPublicKey({ key: jwk, format: 'jwk' })]),
      );
      this.#readAt = performance.now();
    } catch (error) {
      console.warn(`the gateway's keys could not be read: ${error.message}`);
    }
  }
}

function json(part) {
  try {
    const value = JSON.parse(Buffer.from(part, 'base64url').toString());
    if (value !== null && typeof value === 'object') return value;
  } catch {
    // Said below.
  }
  throw new Refused('it is no statement');
}

/**
 * Gives a user's id as the gateway writes it into a header: what is not visible ASCII, and `%`, is
 * percent-encoded.
 */
export function headerValue(userId) {
  const encoded = (byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  const isPlain = (byte) => byte > 0x20 && byte < 0x7f && byte !== 0x25;
  const bytes = [...Buffer.from(userId)];
  return bytes.map((byte) => (isPlain(byte) ? String.fromCharCode(byte) : encoded(byte))).join('');
}
