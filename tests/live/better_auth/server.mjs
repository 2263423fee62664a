// An identity provider for the live tests: Better Auth with its JWT plugin as its documentation sets it up, over a
// database in memory. Two routes are not Better Auth's:
//
//   POST /_test/rotate   what its `rotationInterval` does in time: the key is too old to sign, and is published still
//   POST /_test/replace  what an operator does with a key that leaked: it is gone, and with it what it signed
//
// Usage: node server.mjs [PORT]. Stops when stdin is closed.

import { createServer } from 'node:http';
import { betterAuth } from 'better-auth';
import { memoryAdapter } from 'better-auth/adapters/memory';
import { toNodeHandler } from 'better-auth/node';
import { jwt } from 'better-auth/plugins';

const database = { user: [], session: [], account: [], verification: [], jwks: [] };
const keys = {
  rotate: () => database.jwks.forEach((key) => (key.expiresAt = new Date(0))),
  replace: () => database.jwks.splice(0),
};

const server = createServer();
server.listen(Number(process.argv[2] ?? 0), '127.0.0.1', () => {
  const url = `http://127.0.0.1:${server.address().port}`;
  const auth = betterAuth({
    baseURL: url,
    secret: 'for the live tests alone, and long enough',
    database: memoryAdapter(database),
    emailAndPassword: { enabled: true },
    rateLimit: { enabled: false },
    telemetry: { enabled: false },
    plugins: [jwt({ jwks: { gracePeriod: 1e12 } })],
  });
  const handler = toNodeHandler(auth);
  server.on('request', (request, response) => {
    const [, change] = /^\/_test\/(rotate|replace)$/.exec(request.url) ?? [];
    if (!change) return void handler(request, response);
    keys[change]();
    response.writeHead(204).end();
  });
  console.log(`listening on ${url}`);
});
process.stdin.resume().on('end', () => process.exit());
