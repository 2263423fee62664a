// Finds operations, in their own words and in those that people come with.

// What an operation is called elsewhere. Among operations that have a word, the first in the list
// is where Enter leads.
const WORDS = {
  create_session: "new begin open conversation",
  list_sessions: "all conversations history",
  get_session: "history conversation transcript load show past",
  update_session: "rename name change edit",
  delete_session: "remove erase conversation",
  create_thread: "new open begin conversation",
  list_threads: "all conversations history",
  get_thread: "history conversation messages load show",
  create_run: "say talk chat prompt question stream events sse live reply answer ask post write",
  list_items: "history messages conversation page",
  create_feedback: "rate rating thumbs vote like dislike comment",
  retry_item: "regenerate again redo repeat",
  submit_tool_output: "function call result return",
  submit_structured_input: "form fields choose",
  run_action: "button widget click press",
  create_attachment: "upload add attach file image picture photo document send",
  delete_attachment: "remove erase file image upload",
  create_transcription: "voice audio speak microphone dictate dictation transcribe record sound",
  passthrough: "raw sdk protocol rpc stream voice upload rename",
  chat: "message question prompt send talk",
  chat_for_user: "message question prompt send talk",
  list_conversations: "all history chats",
  list_conversations_for_user: "all history chats",
  get_conversation: "history messages chat load show",
  get_conversation_for_user: "history messages chat load show",
  openai_create_session: "login signin token key new hosted session credentials",
  openai_cancel_session: "logout signout token remove delete session credentials",
  openai_list_threads: "all history conversations sessions hosted",
  openai_get_thread: "history conversation hosted show",
  openai_list_items: "history messages conversation hosted page",
  openai_delete_thread: "remove erase conversation hosted",
  healthz: "health alive live status ping monitor",
  readyz: "ready health status probe monitor",
  openapi: "swagger specification schema reference json",
  docs: "help reference page",
};
const TOKEN_WORDS = "login log sign signin token bearer jwt key secret password credentials authorization authentication auth 401";

// They say nothing of what is looked for.
const IDLE = new Set("a an and by can do for from how i in is it my of on the to with".split(" "));

// What Enter and the arrows go through: of each its place in the list, where it leads, and its words.
const entries = [];
const groups = [];
let hits = [];
let at = -1;

const spaced = (text) => ` ${text.toLowerCase().split(/[^\p{L}\p{N}]+/u).filter(Boolean).join(" ")}`;

// Does one of the words of `text`, which is spaced, begin with this one, or with this one's stem?
function begins(text, word) {
  const stems = ["", "s", "es", "d", "ed", "ing"]
    .filter((ending) => word.endsWith(ending) && (!ending || word.length - ending.length > 3))
    .map((ending) => word.slice(0, word.length - ending.length));
  return stems.some((stem) => text.includes(` ${stem}`));
}

// Those that are called so; else those whose path helps; else those that have the letters anywhere.
function lookFor(wanted) {
  const said = wanted.toLowerCase().split(/\s+/).filter(Boolean);
  const all = spaced(wanted).split(" ").filter(Boolean);
  const telling = all.filter((word) => !IDLE.has(word));
  const words = telling.length ? telling : all;
  const ways = [(entry) => said.every((word) => entry.letters.includes(word))];
  if (words.length) {
    ways.unshift(
      (entry) => words.every((word) => begins(entry.words, word)),
      (entry) => words.every((word) => begins(entry.words + entry.path, word)));
  }
  return ways.map((way) => entries.filter(way)).find((found) => found.length) || [];
}

function addEntry(title, target, words, path = "") {
  const link = h("a", { href: `#${target.id}` }, title);
  const item = h("li", {}, link);
  entries.push({
    title, target, link, item,
    words: spaced(`${title} ${words}`), path: spaced(path), letters: `${title} ${words} ${path}`.toLowerCase(),
  });
  return item;
}

function addGroup(name, items) {
  const group = h("div", {}, name ? h("h2", {}, name) : undefined, h("ul", {}, items));
  groups.push(group);
  byId("index").append(group);
}

function unfoldList(open) {
  byId("list").classList.toggle("open", open);
  byId("fold").setAttribute("aria-expanded", String(open));
}

function point(entry) {
  for (const { link, target } of entries) {
    link.removeAttribute("aria-current");
    target.classList.remove("found");
  }
  if (!entry) return;
  entry.link.setAttribute("aria-current", "true");
  entry.target.classList.add("found");
}

function look() {
  const wanted = byId("filter").value.trim();
  hits = lookFor(wanted);
  at = -1;
  point();
  for (const entry of entries) entry.item.classList.toggle("hidden", !hits.includes(entry));
  for (const group of groups) group.classList.toggle("hidden", !group.querySelector("li:not(.hidden)"));
  if (wanted) unfoldList(true);
  if (!wanted) byId("found").textContent = "";
  else byId("found").textContent = hits.length ? `${hits.length} found.` : `Nothing found for “${wanted}”.`;
}

// Opens what was found, one after the other, and stays in the field: the next key may be another
// letter or another Enter.
function step(by) {
  if (!hits.length || !byId("filter").value.trim()) return;
  at = at < 0 && by < 0 ? hits.length - 1 : (at + by + hits.length) % hits.length;
  const entry = hits[at];
  point(entry);
  unfoldList(false);
  entry.link.scrollIntoView({ block: "nearest" });
  reveal(entry.target);
  byId("found").textContent = `${at + 1} of ${hits.length}: ${entry.title}.`;
}

// The field and the links below it are one column for the arrows.
function climb(event) {
  const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!by || event.altKey || event.ctrlKey || event.metaKey) return;
  const column = [byId("filter"), ...hits.map((entry) => entry.link)];
  const next = column[column.indexOf(document.activeElement) + by];
  if (!next) return;
  event.preventDefault();
  unfoldList(true);
  next.focus();
}

function startFinding() {
  look();
  byId("filter").addEventListener("input", look);
  byId("filter").addEventListener("keydown", (event) => {
    // An input method's Enter is a word's end.
    if (event.key !== "Enter" || event.isComposing) return;
    event.preventDefault();
    step(event.shiftKey ? -1 : 1);
  });
  byId("filter").addEventListener("keydown", climb);
  byId("index").addEventListener("keydown", climb);
  byId("index").addEventListener("click", (event) => {
    const entry = entries.find(({ link }) => link.contains(event.target));
    if (!entry || event.ctrlKey || event.metaKey || event.shiftKey) return;
    unfoldList(false);
    // An address that stays the same tells nobody.
    if (location.hash !== entry.link.hash) return;
    event.preventDefault();
    goTo(entry.target);
  });
  byId("fold").addEventListener("click", (event) =>
    unfoldList(event.currentTarget.getAttribute("aria-expanded") !== "true"));
}
