"use strict";

// Shows the document that `start.js` fetches from beside this page. Everything is put into the page as text, never
// as markup: what the document and the gateway say can't become part of the page.

const METHODS = ["get", "post", "put", "patch", "delete"];
const byId = (id) => document.getElementById(id);

// What replies have named so far (session_id and the like), for the forms of other operations.
const known = new Map();

let api;

function h(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== null));
  return element;
}

const inline = (line) =>
  line.split("`").map((part, index) => (index % 2 ? h("code", {}, part) : part));

// The little of CommonMark that the document uses: paragraphs, lists, tables, code.
function prose(text) {
  const cells = (line) => line.replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());
  return (text || "").trim().split(/\n{2,}/).filter(Boolean).map((block) => {
    const lines = block.split("\n");
    if (lines.every((line) => line.startsWith("- "))) {
      return h("ul", {}, lines.map((line) => h("li", {}, inline(line.slice(2)))));
    }
    if (lines[0].startsWith("|")) {
      const rows = lines.filter((line, index) => index !== 1);
      return h("table", {}, rows.map((line, row) =>
        h("tr", {}, cells(line).map((cell) => h(row || !cell ? "td" : "th", {}, inline(cell))))));
    }
    return h("p", {}, inline(lines.join(" ")));
  });
}

function pointer(value, path) {
  const names = path.split("/").slice(1).map((name) => name.replace(/~1/g, "/").replace(/~0/g, "~"));
  return names.reduce((at, name) => (at === undefined || at === null ? undefined : at[name]), value);
}

function resolve(value) {
  for (let n = 0; value && value.$ref && n < 16; n += 1) value = pointer(api, value.$ref.slice(1));
  return value || {};
}

// One schema for all that must hold at once, as far as people want to know.
function merged(schema) {
  schema = resolve(schema);
  if (!schema.allOf) return schema;
  const join = (one, other) => {
    const both = { ...one, ...other };
    for (const key of ["properties"]) {
      if (!one[key] || !other[key]) continue;
      both[key] = { ...one[key] };
      for (const [name, value] of Object.entries(other[key])) {
        both[key][name] = one[key][name] ? join(resolve(one[key][name]), resolve(value)) : value;
      }
    }
    return both;
  };
  return schema.allOf.map(merged).reduce(join, { ...schema, allOf: undefined });
}

function typeOf(schema) {
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.oneOf || schema.anyOf) return "one of these";
  const type = [schema.type || "any"].flat().map((name) => {
    if (name !== "array") return name;
    const items = merged(schema.items || {});
    return `array of ${items.type || (items.oneOf ? "one of these" : "any")}`;
  });
  return type.join(" | ") + (schema.format ? ` (${schema.format})` : "");
}

function bounds(schema) {
  const said = [];
  const range = (low, high, what) => {
    if (low !== undefined && high !== undefined) said.push(`${low} to ${high} ${what}`);
    else if (low === 1 && what) said.push("not empty");
    else if (low !== undefined) said.push(`at least ${low} ${what}`);
    else if (high !== undefined) said.push(`at most ${high} ${what}`);
  };
  range(schema.minLength, schema.maxLength, "characters");
  range(schema.minItems, schema.maxItems, "items");
  range(schema.minimum, schema.maximum, "");
  if (schema.default !== undefined) said.push(`default ${JSON.stringify(schema.default)}`);
  return said.length ? ` (${said.join(", ")})` : "";
}

const described = (description, schema) => h("p", {}, inline(description || ""), bounds(schema));

function schemaView(given, depth = 0) {
  const schema = merged(given);
  if (depth > 9) return [];
  const views = [];
  const choices = schema.oneOf || schema.anyOf;
  if (choices) {
    views.push(...choices.map((choice) => {
      const view = merged(choice);
      const kind = view.properties && view.properties.type && view.properties.type.const;
      const name = view.title || kind || typeOf(view);
      return h("details", { class: "response" }, h("summary", {}, h("code", {}, name)),
        prose(view.description), schemaView(view, depth + 1));
    }));
  }
  if (schema.properties && Object.keys(schema.properties).length) {
    const required = schema.required || [];
    views.push(h("ul", { class: "schema" }, Object.entries(schema.properties).map(([name, value]) => {
      const member = merged(value);
      return h("li", {},
        h("span", { class: "name" }, name), " ",
        h("span", { class: "type" }, typeOf(member)), " ",
        required.includes(name) ? h("span", { class: "must" }, "required") : undefined,
        described(member.description, member),
        schemaView(member, depth + 1));
    })));
  }
  if (schema.items) views.push(...schemaView(schema.items, depth + 1));
  return views;
}

function exampleOf(media) {
  if (media.example !== undefined) return media.example;
  const make = (given, depth) => {
    const schema = merged(given);
    if (schema.examples) return schema.examples[0];
    if (schema.const !== undefined) return schema.const;
    if (schema.enum) return schema.enum[0];
    const choice = (schema.oneOf || schema.anyOf || [])[0];
    if (choice && depth < 8) return make(choice, depth + 1);
    switch ([schema.type].flat()[0]) {
      case "object": {
        const entries = Object.entries(schema.properties || {})
          .filter(([name]) => (schema.required || []).includes(name));
        return Object.fromEntries(entries.map(([name, value]) =>
          [name, depth < 8 ? make(value, depth + 1) : null]));
      }
      case "array": return schema.items && depth < 8 ? [make(schema.items, depth + 1)] : [];
      case "integer": case "number": return schema.minimum || 0;
      case "boolean": return false;
      case "null": return null;
      default: return schema.type ? "text" : {};
    }
  };
  return make(media.schema || {}, 0);
}

const pretty = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));

function mediaView(media) {
  const schema = merged(media.schema || {});
  const example = media.example !== undefined ? media.example : (schema.examples || [])[0];
  return [
    prose(schema.description),
    schemaView(schema),
    example === undefined ? undefined : [h("h3", {}, "Example"), h("pre", {}, pretty(example))],
  ];
}

function responseView(status, given) {
  const response = resolve(given);
  const headers = Object.entries(response.headers || {}).map(([name, header]) =>
    h("li", {}, h("code", {}, name), " ", inline(resolve(header).description)));
  const first = (response.description || "").split("\n")[0].replace(/^- /, "");
  const more = (response.description || "").includes("\n");
  const view = h("details", { class: "response" },
    h("summary", {}, h("span", { class: `status ${status < "400" ? "good" : "bad"}` }, status), " ",
      inline(more ? `${first} …` : first)),
    more ? prose(response.description) : undefined);
  const fill = () => view.append(...[
    headers.length ? [h("h3", {}, "Headers"), h("ul", {}, headers)] : [],
    Object.entries(response.content || {}).map(([type, media]) => [h("h3", {}, type), mediaView(media)]),
  ].flat(Infinity).filter(Boolean));
  // What every refusal has would be most of the page; it is made for those that are looked at.
  if (status < "400") fill();
  else view.addEventListener("toggle", fill, { once: true });
  return view;
}

// A button that is off keeps the focus that `disabled` would take from it.
const turn = (button, state) => button.setAttribute("aria-disabled", String(state === "off"));
const isOff = (button) => button.getAttribute("aria-disabled") === "true";

function quote(text) {
  return `'${text.replace(/'/g, "'\\''")}'`;
}

function tryView(method, path, operation, inputs) {
  const open = new Map();
  const fields = (operation.parameters || []).map((given) => {
    const parameter = resolve(given);
    const id = `${operation.operationId}.${parameter.name}`;
    const input = h("input", {
      id, spellcheck: "false", autocomplete: "off",
      required: parameter.required === true, placeholder: typeOf(resolve(parameter.schema)),
    });
    open.set(parameter, input);
    if (parameter.in === "path") inputs.push([parameter.name, input]);
    return h("div", { class: "field" }, h("label", { for: id }, parameter.name), input);
  });

  const body = operation.requestBody && resolve(operation.requestBody);
  const type = body && Object.keys(body.content)[0];
  const text = body && h("textarea", { "aria-label": "Body", spellcheck: "false" });
  if (body) text.value = pretty(exampleOf(body.content[type]));
  const success = resolve(operation.responses["200"]);
  const types = Object.keys(success.content || {});
  const accept = types.length > 1 && h("select", { "aria-label": "Accept" },
    [...types].reverse().map((type) => h("option", {}, type)));

  const curl = h("pre", { "aria-label": "As a curl line" });
  const status = h("p", { role: "status" });
  const answer = h("p", { class: "answer hidden" });
  const reply = h("pre", { class: "reply hidden", tabindex: "0", "aria-label": "Response" });
  const send = h("button", { class: "send" }, "Send");
  const stop = h("button", { type: "button", "aria-disabled": "true" }, "Stop");

  // OpenAPI 3.1: relative to the document, and no reference that paths are resolved against.
  const server = new URL(api.servers[0].url, location.href).href.replace(/\/$/, "");
  const request = () => {
    let url = server + path;
    const query = new URLSearchParams();
    const headers = {};
    for (const [parameter, input] of open) {
      if (parameter.in === "path") {
        url = url.replace(`{${parameter.name}}`, encodeURIComponent(input.value) || `{${parameter.name}}`);
      } else if (input.value && parameter.in === "query") query.set(parameter.name, input.value);
      else if (input.value && parameter.in === "header") headers[parameter.name] = input.value;
    }
    if (String(query)) url += `?${query}`;
    if (accept) headers.accept = accept.value;
    const content = text && text.value.trim() ? text.value : undefined;
    if (content !== undefined) headers["content-type"] = type;
    return { url, headers, content };
  };
  const needsToken = (operation.security || []).length > 0;
  const write = () => {
    const { url, headers, content } = request();
    const words = ["curl -sS -N"];
    if (method !== "get" && !(method === "post" && content)) words.push(`-X ${method.toUpperCase()}`);
    words.push(quote(new URL(url, location.href).href.replace(/%7B/g, "{").replace(/%7D/g, "}")));
    // The token itself is not written: what is on a screen is soon in a ticket.
    if (needsToken) words.push('-H "authorization: Bearer $TOKEN"');
    for (const [name, value] of Object.entries(headers)) words.push(`-H ${quote(`${name}: ${value}`)}`);
    if (content !== undefined) words.push(`-d ${quote(content)}`);
    curl.textContent = words.join(" \\\n  ");
  };

  const run = async (event) => {
    event.preventDefault();
    if (isOff(send)) return;
    const { url, headers, content } = request();
    const token = bare(byId("token").value);
    if (needsToken && token) headers.authorization = `Bearer ${token}`;
    const control = new AbortController();
    stop.onclick = () => control.abort();
    turn(send, "off");
    turn(stop, "on");
    status.textContent = "Waiting …";
    answer.textContent = "";
    answer.classList.add("hidden");
    reply.classList.remove("hidden");
    reply.textContent = "";
    const begun = performance.now();
    try {
      const response = await fetch(url, {
        method: method.toUpperCase(), headers, body: content, signal: control.signal,
        credentials: "same-origin", redirect: "error",
      });
      const took = Math.round(performance.now() - begun);
      status.replaceChildren(
        h("span", { class: `status ${response.ok ? "good" : "bad"}` }, `${response.status} ${response.statusText}`),
        ` after ${took} ms, request ${response.headers.get("x-request-id") || "without id"}`);
      await show(response, reply, answer);
      if (response.ok) learn(success, reply.textContent);
    } catch (error) {
      status.append(` ${error.name === "AbortError" ? "Stopped." : `Failed: ${error.message}`}`);
    } finally {
      turn(send, "on");
      turn(stop, "off");
    }
  };

  const form = h("form", { class: "try", autocomplete: "off", onsubmit: run, oninput: write },
    h("h3", {}, "Try it"),
    fields,
    accept ? h("div", { class: "field" }, h("span", {}, "accept"), accept) : undefined,
    text,
    h("div", { class: "buttons" }, send, stop),
    curl, status, answer, reply);
  form.addEventListener("known", write);
  write();
  return form;
}

// Shows a response as it comes: events one by one, and the words in them put together.
async function show(response, reply, answer) {
  const type = response.headers.get("content-type") || "";
  if (!type.startsWith("text/event-stream") || !response.body) {
    const text = await response.text();
    try {
      reply.textContent = type.includes("json") ? JSON.stringify(JSON.parse(text), null, 2) : text;
    } catch {
      reply.textContent = text;
    }
    return;
  }
  answer.classList.remove("hidden");
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    const text = decoder.decode(value, { stream: !done });
    reply.append(text);
    const lines = (rest + text).split(/\r\n|\n|\r/);
    rest = done ? "" : lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data:")) continue;
      try {
        const event = JSON.parse(line.slice(5));
        if (event.update && typeof event.update.delta === "string") answer.append(event.update.delta);
      } catch {
        // Not one line of JSON: it is shown as it came, which is all there is to do.
      }
    }
    reply.scrollTop = reply.scrollHeight;
    if (done) return;
  }
}

// Puts the ids of a reply where other operations want them.
function learn(success, text) {
  let reply;
  try {
    reply = JSON.parse(text);
  } catch {
    return;
  }
  for (const link of Object.values(success.links || {})) {
    for (const [name, expression] of Object.entries(link.parameters || {})) {
      const path = expression.split("$response.body#")[1];
      const value = path && pointer(reply, path);
      if (typeof value !== "string") continue;
      for (const [operation, input] of known.get(name) || []) {
        if (operation === link.operationId) {
          input.value = value;
          input.dispatchEvent(new Event("known", { bubbles: true }));
        }
      }
    }
  }
}

function operationView(method, path, operation) {
  const parameters = (operation.parameters || []).map(resolve);
  const body = operation.requestBody && resolve(operation.requestBody);
  const inputs = [];
  const view = h("details", { class: "operation", id: operation.operationId },
    h("summary", {},
      h("span", { class: `method ${method}` }, method.toUpperCase()),
      h("span", { class: "path" }, path),
      h("span", { class: "summary" }, operation.summary)),
    h("div", {},
      prose(operation.description),
      h("p", { class: "note" }, (operation.security || []).length
        ? ["Credentials, one of: ", operation.security.map((way, n) => [n ? ", " : "", h("code", {}, Object.keys(way).join(" and "))])]
        : "No credentials are needed."),
      parameters.length ? [h("h3", {}, "Parameters"), h("ul", { class: "schema" }, parameters.map((parameter) =>
        h("li", {}, h("span", { class: "name" }, parameter.name), " ",
          h("span", { class: "type" }, `${parameter.in}, ${typeOf(resolve(parameter.schema))}`), " ",
          parameter.required ? h("span", { class: "must" }, "required") : undefined,
          described(parameter.description, resolve(parameter.schema)))))] : undefined,
      body ? [h("h3", {}, `Body${body.required ? "" : " (may be left out)"}`),
        Object.entries(body.content).map(([type, media]) =>
          h("details", { class: "response" }, h("summary", {}, h("code", {}, type)), mediaView(media))),
        h("p", { class: "note" }, body.description)] : undefined,
      h("h3", {}, "Responses"),
      Object.entries(operation.responses).map(([status, response]) => responseView(status, response)),
      tryView(method, path, operation, inputs)));
  for (const [name, input] of inputs) {
    if (!known.has(name)) known.set(name, []);
    known.get(name).push([operation.operationId, input]);
  }
  return view;
}

function render() {
  document.title = api.info.title;
  byId("title").replaceChildren(api.info.title, " ", h("small", {}, api.info.version));
  byId("lead").textContent = api.info.summary || "";
  const all = Object.entries(api.paths).flatMap(([path, methods]) =>
    METHODS.filter((method) => methods[method]).map((method) => [method, path, methods[method]]));
  byId("main").replaceChildren(...prose(api.info.description));
  for (const tag of api.tags || []) {
    const own = all.filter(([, , operation]) => operation.tags[0] === tag.name);
    byId("main").append(h("h2", {}, tag.name), ...prose(tag.description));
    addGroup(tag.name, own.map(([method, path, operation]) => {
      const view = operationView(method, path, operation);
      byId("main").append(view);
      const words = `${method} ${operation.operationId} ${WORDS[operation.operationId] || ""}`;
      return addEntry(operation.summary, view, words, path);
    }));
  }
  addGroup("This page", [addEntry("Your token", byId("token"), TOKEN_WORDS)]);
  startFinding();
}
