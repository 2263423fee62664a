// Reads the conversations of a self-hosted ChatKit server with OpenAI's own client.
import OpenAI from "openai";

const client = new OpenAI({
  baseURL: process.env.CHATKIT_REST_URL, // such as http://127.0.0.1:8080/v1
  apiKey: process.env.CHATKIT_REST_API_KEY, // one of openai.api_keys
});
const { sessions, threads } = client.beta.chatkit;

// What a browser gets to talk for one user. The workflow is yours to name: nothing is run by it.
const session = await sessions.create({ user: "ada", workflow: { id: "support" } });
console.log(`a client secret until ${new Date(session.expires_at * 1000).toISOString()}`);

// Pages follow by themselves.
for await (const thread of threads.list({ user: "ada" })) {
  console.log(`${thread.id}: ${thread.title ?? "untitled"}, ${thread.status.type}`);
  for await (const item of threads.listItems(thread.id, { order: "asc" })) {
    if (item.type === "chatkit.user_message" || item.type === "chatkit.assistant_message") {
      console.log(`  ${item.type}: ${item.content.map((part) => part.text).join(" ")}`);
    }
  }
}

await sessions.cancel(session.id);
