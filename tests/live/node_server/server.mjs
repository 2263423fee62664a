// A ChatKit server on the third-party Node SDK, for the live tests: the endpoint is the one its
// README shows. A message that starts with one of these words gets that instead of an echo:
//
//   /tool NAME {JSON}   a pending client tool call, which ends the turn
//   /stall N            N words (default 0), then silence for ever
//   /error              fails before the first word
//   /custom TEXT        refuses with TEXT, which is meant for the user
//   /destroy            the connection breaks before any byte of the response
//
// Usage: node server.mjs [PORT]. Stops when stdin is closed.

import { AttachmentStore, ChatKitServer, CustomStreamError, NotFoundError, Store } from 'chatkit-node-backend-sdk';
import express from 'express';

import { GatewayProof } from '../../../examples/gateway_proof/gateway_proof.mjs';

const found = (row, what) => {
  if (row === undefined) throw new NotFoundError(`no such ${what}`);
  return structuredClone(row);
};

/** One page of `rows`, which are in the order of their creation. */
const page = (rows, after, limit, order) => {
  const sorted = order === 'desc' ? rows.toReversed() : rows;
  const start = after === null ? 0 : sorted.findIndex((row) => row.id === after) + 1;
  const data = structuredClone(sorted.slice(start, start + limit));
  const has_more = start + limit < sorted.length;
  return { data, has_more, after: has_more ? data.at(-1).id : null };
};

class MemoryStore extends Store {
  threads = new Map();
  items = new Map();
  attachments = new Map();

  #itemsOf(threadId) {
    if (!this.items.has(threadId)) this.items.set(threadId, new Map());
    return this.items.get(threadId);
  }

  async loadThread(id) {
    return found(this.threads.get(id), 'thread');
  }

  async saveThread(thread) {
    this.threads.set(thread.id, structuredClone(thread));
  }

  async deleteThread(id) {
    this.threads.delete(id);
    this.items.delete(id);
  }

  async loadThreads(limit, after, order) {
    return page([...this.threads.values()], after, limit, order);
  }

  async loadThreadItems(threadId, after, limit, order) {
    return page([...this.#itemsOf(threadId).values()], after, limit, order);
  }

  async addThreadItem(threadId, item) {
    await this.saveItem(threadId, item);
  }

  async saveItem(threadId, item) {
    this.#itemsOf(threadId).set(item.id, structuredClone(item));
  }

  async loadItem(threadId, id) {
    return found(this.#itemsOf(threadId).get(id), 'item');
  }

  async deleteThreadItem(threadId, id) {
    this.#itemsOf(threadId).delete(id);
  }

  async saveAttachment(attachment) {
    this.attachments.set(attachment.id, structuredClone(attachment));
  }

  async loadAttachment(id) {
    return found(this.attachments.get(id), 'attachment');
  }

  async deleteAttachment(id) {
    this.attachments.delete(id);
  }
}

class Attachments extends AttachmentStore {
  async createAttachment({ name, mime_type }, context) {
    const id = this.generateAttachmentId(mime_type, context);
    return { type: 'file', id, name, mime_type, upload_url: `http://${context.host}/attachments/${id}`, metadata: null };
  }

  // The SDK goes on to delete what the store knows of it, and there is nothing else.
  async deleteAttachment() {}
}

class EchoServer extends ChatKitServer {
  async *respond(thread, message, context) {
    const text = message
      ? message.content.map((part) => part.text).join('')
      : await this.#whatCameBack(thread, context);
    const [word, ...others] = text.split(' ');
    const rest = others.join(' ');
    switch (word) {
      case '/tool': {
        const [name, ...json] = others;
        const item = this.#item('client_tool_call', 'tool_call', thread, context);
        const call = { status: 'pending', call_id: `call_${item.id}`, name, arguments: JSON.parse(json.join(' ')) };
        yield { type: 'thread.item.done', item: { ...item, ...call } };
        break;
      }
      case '/stall': {
        const words = Array.from({ length: Number(rest) }, (_, n) => `word${n}`).join(' ');
        yield* this.#say(words, thread, context, new Promise(() => {}));
        break;
      }
      case '/error':
        throw new Error('a message asked for it');
      case '/custom':
        throw new CustomStreamError(rest);
      case '/destroy':
        // What was written so far waits for the end of this tick, and this store awaits nothing.
        context.socket.destroy();
        throw new Error('a message asked for it');
      default:
        yield* this.#say(text, thread, context);
    }
  }

  async #whatCameBack(thread, context) {
    const { data } = await this.store.loadThreadItems(thread.id, null, 1, 'desc', context);
    return `${data[0].name} returned ${JSON.stringify(data[0].output)}`;
  }

  #item(type, kind, thread, context) {
    const id = this.store.generateItemId(kind, thread, context);
    return { type, id, thread_id: thread.id, created_at: new Date().toISOString() };
  }

  /** One assistant message, a delta a word; `pause` is awaited after the last one. */
  async *#say(text, thread, context, pause) {
    const item = this.#item('assistant_message', 'message', thread, context);
    const content = { type: 'output_text', text, annotations: [] };
    const update = (kind, rest) => ({
      type: 'thread.item.updated',
      item_id: item.id,
      update: { type: `assistant_message.content_part.${kind}`, content_index: 0, ...rest },
    });
    const words = text.match(/\s*\S+/g) ?? [];
    if (words.length === 0) await pause;
    yield { type: 'thread.item.added', item: { ...item, content: [] } };
    yield update('added', { content: { ...content, text: '' } });
    for (const delta of words) yield update('text_delta', { delta });
    await pause;
    yield update('done', { content });
    yield { type: 'thread.item.done', item: { ...item, content: [content] } };
  }
}

const silent = { debug() {}, info() {}, warn() {}, error() {} };
const server = new EchoServer(new MemoryStore(), new Attachments(), silent);

const app = express();
const keepBytes = (req, _res, bytes) => {
  req.rawBody = bytes;
};
app.use(express.json({ verify: keepBytes }));

// Whoever connects is believed unless this is configured.
const proof = GatewayProof.fromEnv();
if (proof) app.use(proof.middleware());

app.post('/chatkit', async (req, res) => {
  const context = { userId: req.headers['x-user-id'] || 'anonymous', socket: req.socket, host: req.headers.host };
  const result = await server.process(JSON.stringify(req.body), context);

  if (result.isStreaming) {
    // Set SSE headers
    res.setHeader('Content-Type', 'text/event-stream');
    res.setHeader('Cache-Control', 'no-cache');
    res.setHeader('Connection', 'keep-alive');

    // Stream events
    for await (const chunk of result) {
      res.write(chunk);
    }
    res.end();
  } else {
    res.json(result.toJSON());
  }
});

const listener = app.listen(Number(process.argv[2] ?? 0), '127.0.0.1', (error) => {
  if (error) throw error;
  process.stdout.write(`listening on http://127.0.0.1:${listener.address().port}/chatkit\n`);
  // The SDK writes request bodies to stdout, Express errors to stderr. All of these were asked for.
  console.log = console.warn = console.error = () => {};
});

process.stdin.resume().on('end', () => process.exit());
