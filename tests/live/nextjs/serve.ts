// Plays the part of Next.js around the manual's route handler: from a request of HTTP/1.1 a `Request`, from the
// handler's `Response` an answer, piece by piece, and a `signal` that tells when who asked has left. Says where it
// listens, and ends with its standard input.
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import * as route from "./app/api/chatkit/[[...path]]/route";

type Handler = (request: Request) => Promise<Response>;
const handlers: Record<string, Handler | undefined> = { ...route };

async function answer(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  const handler = handlers[incoming.method ?? ""];
  if (!handler) return void outgoing.writeHead(405).end();
  const left = new AbortController();
  outgoing.on("close", () => left.abort());
  const bodiless = incoming.method === "GET" || incoming.method === "HEAD";
  const init = { body: bodiless ? undefined : incoming, duplex: "half", signal: left.signal };
  const { method, headers, url } = incoming;
  const request = { method, headers: Object.entries(headers).map(([name, value]) => [name, String(value)]), ...init };
  const response = await handler(new Request(`http://${headers.host}${url}`, request as unknown as RequestInit));
  outgoing.writeHead(response.status, [...response.headers].flat());
  outgoing.flushHeaders();
  const body = response.body as AsyncIterable<Uint8Array> | null;
  if (body) for await (const piece of body) outgoing.write(piece);
  outgoing.end();
}

const server = createServer((incoming, outgoing) => {
  answer(incoming, outgoing).catch((error: unknown) => {
    if (!outgoing.destroyed && !outgoing.headersSent) console.error(error);
    if (outgoing.headersSent) outgoing.destroy();
    else outgoing.writeHead(500).end();
  });
});
server.listen(0, "127.0.0.1", () => {
  console.log(`listening on http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
process.stdin.resume().on("end", () => process.exit());
