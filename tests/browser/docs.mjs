// Reads /docs as people do, in Chromium. Its arguments are the browser and the link that the demo
// prints; `tests/openapi/browser.rs` starts it. With SCREENSHOTS set to a folder it leaves pictures
// there, to be looked at.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";

const [executablePath, link] = process.argv.slice(2);
const address = link.split("#")[0];
const token = decodeURIComponent(link.split("#token=")[1] || "");
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const WIDTHS = [360, 768, 1280];
const SCHEMES = ["light", "dark"];

let browser;
before(async () => {
  browser = await chromium.launch({ executablePath });
});
after(() => browser?.close());

// A page of its own for each test, and a test that fails where the page does.
function reads(name, options, look) {
  test(name, async () => {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
    context.setDefaultTimeout(20_000);
    const page = await context.newPage();
    const faults = [];
    page.on("pageerror", (error) => faults.push(String(error)));
    page.on("console", (message) => {
      if (message.type() === "error" && !message.text().includes("the server responded with")) faults.push(message.text());
    });
    try {
      await look(page);
    } finally {
      await context.close();
    }
    assert.deepEqual(faults, []);
  });
}

async function open(page, url = address) {
  await page.goto(url);
  await page.locator("#create_run").waitFor();
}

const narrow = { viewport: { width: 360, height: 740 } };
const focused = (page) => page.evaluate(() => document.activeElement.id);
const isOpen = (page, id) => page.locator(`#${id}`).evaluate((view) => view.open);
const shown = (page) => page.locator("#index a:visible").allInnerTexts();
const said = (page) => page.locator("#found").innerText();

// Sends an operation as its form stands.
async function send(page, operation) {
  const form = page.locator(`#${operation} form.try`);
  if (!(await isOpen(page, operation))) await page.locator(`#${operation} > summary`).click();
  await form.getByRole("button", { name: "Send" }).click();
  await form.locator("[role=status]", { hasText: /^200 / }).waitFor();
  await form.locator("button.send[aria-disabled=false]").waitFor();
  return form;
}

// Says something, in one session for all who do: a user of the demo may have ten.
let session;
async function talk(page) {
  if (!session) {
    const form = await send(page, "create_session");
    session = JSON.parse(await form.locator(".reply").innerText()).data.id;
  }
  await page.locator("#create_run").evaluate((view) => { view.open = true; });
  for (const name of ["session_id", "thread_id"]) await page.locator(`[id="create_run.${name}"]`).fill(session);
  return send(page, "create_run");
}

// Nothing scrolls sideways.
const isWithin = async (page) => {
  const [inner, outer] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(inner <= outer, `${inner} pixels in ${outer}`);
};

const hasTokenInSight = async (page) => {
  const box = await page.locator("#token").boundingBox();
  const { width, height } = page.viewportSize();
  assert.ok(box.y >= 0 && box.y + box.height <= height, JSON.stringify(box));
  assert.ok(box.x >= 0 && box.x + box.width <= width && box.width > 150, JSON.stringify(box));
  const top = await page.evaluate(({ x, y }) => document.elementFromPoint(x, y)?.id, { x: box.x + 20, y: box.y + 10 });
  assert.equal(top, "token", "something lies over it");
};

reads("the list is folded where it is narrow", narrow, async (page) => {
  await open(page);
  const fold = page.getByRole("button", { name: "Operations" });
  assert.equal(await fold.getAttribute("aria-expanded"), "false");
  assert.deepEqual(await shown(page), []);
  assert.ok((await page.locator("main").boundingBox()).y < 500, "the operations are far below");
  await isWithin(page);

  await fold.click();
  assert.equal(await fold.getAttribute("aria-expanded"), "true");
  assert.ok((await shown(page)).includes("Send a message"));
  await isWithin(page);
  await fold.click();
  assert.equal(await fold.getAttribute("aria-expanded"), "false");
  assert.deepEqual(await shown(page), []);

  // Following an entry folds it, and the keys go on from where it leads.
  await fold.press("Enter");
  await page.getByRole("link", { name: "Send a message" }).press("Enter");
  await page.locator("#create_run[open]").waitFor();
  assert.equal(await fold.getAttribute("aria-expanded"), "false");
  assert.equal(await page.evaluate(() => document.activeElement.parentElement.id), "create_run");
  await unfoldAll(page);
  await isWithin(page);
});

reads("the list is beside the operations where there is room", {}, async (page) => {
  await open(page);
  assert.ok(!(await page.locator("#fold").isVisible()));
  assert.ok((await shown(page)).includes("Send a message"));
  const [list, main] = [await page.locator("#list").boundingBox(), await page.locator("main").boundingBox()];
  assert.ok(list.x + list.width <= main.x);
});

for (const width of [320, ...WIDTHS]) {
  reads(`the token stays in sight at ${width}`, { viewport: { width, height: 700 } }, async (page) => {
    await open(page);
    await hasTokenInSight(page);
    await page.locator("#readyz > summary").click();
    await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
    await hasTokenInSight(page);
    await isWithin(page);
    // What is gone to is below it.
    await page.goto(`${address}#create_session`);
    await page.locator("#create_session[open]").waitFor();
    await hasTokenInSight(page);
    const [bar, view] = [await page.locator("#login").boundingBox(), await page.locator("#create_session").boundingBox()];
    assert.ok(view.y >= bar.y + bar.height && view.y < bar.y + bar.height + 60, `${view.y}`);
  });
}

reads("the demo's link has the token, and the address keeps none of it", {}, async (page) => {
  assert.ok(token.length > 50, link);
  const asked = [];
  page.on("request", (request) => asked.push(request.url()));
  await open(page, link);
  assert.equal(await page.locator("#token").inputValue(), token);
  assert.equal(await page.evaluate(() => location.href), address);
  assert.deepEqual(asked.filter((url) => url.includes(token)), []);
  const kept = await page.evaluate(() => JSON.stringify([localStorage.length, sessionStorage.length, document.cookie, history.length]));
  // The page before it, and it.
  assert.equal(kept, JSON.stringify([0, 0, "", 2]));
  assert.match(await page.locator("#kept").innerText(), /^Taken from the link, which the browser’s history may keep/);
  const claims = JSON.parse(Buffer.from(token.split(".")[1], "base64url").toString());
  const of = await page.locator("#kept").innerText();
  assert.ok(of.includes(` It says it is for ${claims.sub}, until `), of);
  await send(page, "create_session");
  const form = await send(page, "create_run");
  assert.match(await form.locator(".answer").innerText(), /^You said: /);

  // A link that is pasted into the page that is there already; another one; and a broken one.
  for (const [fragment, expected] of [["a.b.c", "a.b.c"], ["Bearer%20d.e.f", "d.e.f"], ["%E0%A4%A", "%E0%A4%A"], ["g%2Bh+i%3D", "g+h+i="]]) {
    await page.locator("#token").fill("");
    await page.evaluate((hash) => { location.hash = hash; }, `#token=${fragment}`);
    await page.waitForFunction((value) => document.getElementById("token").value === value, expected);
    assert.equal(await page.evaluate(() => location.href), address);
  }
  await page.reload();
  await page.locator("#create_run").waitFor();
  assert.equal(await page.locator("#token").inputValue(), "", "gone when the page is");
});

reads("a link replaces no token", {}, async (page) => {
  await open(page);
  const field = page.locator("#token");
  const kept = page.locator("#kept");
  await field.fill("typed");
  await page.evaluate(() => { location.hash = "#token=another"; });
  await kept.filter({ hasText: /^Not taken from the link/ }).waitFor();
  assert.equal(await field.inputValue(), "typed");
  assert.equal(await page.evaluate(() => location.href), address);
  // What it says is about the token that is there.
  await field.fill("");
  assert.match(await kept.innerText(), /gone when the page is/);
  await page.evaluate(() => { location.hash = "#token=another"; });
  await kept.filter({ hasText: /^Taken from the link/ }).waitFor();
  assert.equal(await field.inputValue(), "another");
  await page.evaluate(() => { location.hash = "#token=third"; });
  await kept.filter({ hasText: /^Not taken from the link/ }).waitFor();
  assert.equal(await field.inputValue(), "another");
});

reads("the page says whose a token is, and till when, if it can be read", {}, async (page) => {
  await open(page);
  const made = (claims) => `e30.${Buffer.from(typeof claims === "string" ? claims : JSON.stringify(claims)).toString("base64url")}.x`;
  for (const [text, said] of [
    [made({ sub: "zoë", exp: 4e9 }), /gone when the page is\. It says it is for zoë, until \S/],
    [`Bearer ${made({ sub: 7, exp: 1 })}`, / It says it is for 7, over since \S/],
    [made({ sub: "<b>x</b>" }), / It says it is for <b>x<\/b>\.$/],
    [made({ sub: "\u202Eada\u2066 \u200Fx\uFEFF" }), / It says it is for ada x\.$/],
    [made({ sub: "x".repeat(100), exp: "soon" }), / It says it is for x{80}\.$/],
    [made({ exp: 1e300 }), /gone when the page is\.$/],
    [made({ sub: {} }), /gone when the page is\.$/],
    [made("null"), /gone when the page is\.$/],
    [made("{"), /gone when the page is\.$/],
    ["a.%.c", /gone when the page is\.$/],
    ["secret", /gone when the page is\.$/],
  ]) {
    await page.locator("#token").fill(text);
    assert.match(await page.locator("#kept").innerText(), said, text);
  }
});

reads("an address that is none breaks nothing", {}, async (page) => {
  for (const fragment of ["#%", "#nothing", "#token=", "#main"]) {
    await page.goto("about:blank");
    await open(page, address + fragment);
    assert.equal(await page.locator("#token").inputValue(), "");
    assert.match(await page.locator("#lead").innerText(), /gateway/);
  }
});

reads("what stands around a token is taken off", {}, async (page) => {
  await open(page);
  const field = page.locator("#token");
  const around = [
    `Bearer ${token}`, `bearer  ${token}`, `BEARER\t${token}`, ` ${token} \n`, `"${token}"`, `'Bearer ${token}'`, `Bearer "${token}"`,
    `authorization: Bearer ${token}`, `"Authorization: bearer ${token}"`, `TOKEN=${token}`, `Bearer Bearer ${token}`, token,
  ];
  for (const text of around) {
    // Typed, and left by Enter, which goes nowhere.
    await field.fill(text);
    await field.press("Enter");
    assert.equal(await field.inputValue(), token, JSON.stringify(text));
    assert.equal(await focused(page), "token");
  }
  const broken = [`Bearer\n${token}`, `Bearer\r\n ${token}\r\n`, `Bearer ${token.slice(0, 40)}\n${token.slice(40)}`];
  for (const text of [...around, ...broken]) {
    await field.fill("");
    await field.evaluate((element, text) => {
      const clipboardData = new DataTransfer();
      clipboardData.setData("text", text);
      element.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
    }, text);
    assert.equal(await field.inputValue(), token, JSON.stringify(text));
  }
  // Nothing of a token goes that only looks like it.
  for (const text of ["bearer.a.b", "tokens", "x Bearer y"]) {
    await field.fill(text);
    await field.press("Enter");
    assert.equal(await field.inputValue(), text);
  }
  // Still being typed in when it is sent with.
  await field.fill(`Bearer ${token}`);
  const [request] = await Promise.all([
    page.waitForRequest((request) => request.method() === "POST"),
    page.evaluate(() => {
      document.getElementById("create_session").open = true;
      document.querySelector("#create_session form.try").requestSubmit();
    }),
  ]);
  assert.equal((await request.allHeaders()).authorization, `Bearer ${token}`);
});

// What somebody may come with, and where the first Enter has to lead.
const SOUGHT = {
  "send": "create_run", "send message": "create_run", "Send a message": "create_run", "say": "create_run",
  "messages": "get_session", "chat": "create_run", "stream": "create_run", "streaming": "create_run", "prompt": "create_run",
  "history": "list_sessions", "message history": "get_session", "transcript": "get_session", "new conversation": "create_session",
  "rename": "update_session", "renaming a session": "update_session", "change title": "update_session",
  "remove": "delete_session", "erase": "delete_session", "delete": "delete_session", "remove file": "delete_attachment",
  "upload": "create_attachment", "uploading": "create_attachment", "files": "create_attachment", "image": "create_attachment",
  "voice": "create_transcription", "audio": "create_transcription", "speech": "create_transcription", "microphone": "create_transcription",
  "feedback": "create_feedback", "thumbs up": null, "thumbs": "create_feedback", "rate": "create_feedback", "like": "create_feedback",
  "regenerate": "retry_item", "retry": "retry_item", "try again": "retry_item", "again": "retry_item",
  "tool": "submit_tool_output", "function call": "submit_tool_output", "form": "submit_structured_input", "button": "run_action", "widget": "run_action",
  "login": "openai_create_session", "log in": "openai_create_session", "sign in": "openai_create_session", "token": "openai_create_session", "bearer": "token", "password": "token",
  "logout": "openai_cancel_session", "revoke": "openai_cancel_session", "health": "healthz", "swagger": "openapi", "help": "docs",
  // As they are called in the document.
  "create_run": "create_run", "POST runs": "create_run", "/threads/{thread_id}/runs": "create_run", "GET /healthz": "healthz", "kit request": "passthrough",
};

reads("find knows common words, says so when it finds nothing, and Enter keeps the focus", {}, async (page) => {
  await open(page);
  const find = page.getByRole("searchbox", { name: "Find" });
  const all = await shown(page);
  assert.equal(await said(page), "");
  assert.equal(await page.locator("#found").getAttribute("role"), "status");
  for (const [words, expected] of Object.entries(SOUGHT)) {
    await find.fill(words);
    const found = await shown(page);
    if (expected === null) {
      assert.deepEqual(found, [], words);
      assert.equal(await said(page), `Nothing found for “${words}”.`);
      assert.deepEqual(await page.locator("#index h2:visible").allInnerTexts(), []);
      continue;
    }
    assert.ok(found.length < all.length, `${words} finds everything`);
    assert.equal(await said(page), `${found.length} found.`, words);
    await find.press("Enter");
    const current = page.locator("#index a[aria-current=true]");
    assert.equal(await current.getAttribute("href"), `#${expected}`, words);
    assert.equal(await said(page), `1 of ${found.length}: ${await current.innerText()}.`);
    assert.equal(await focused(page), "filter", words);
    if (expected !== "token") {
      assert.ok(await isOpen(page, expected), words);
      assert.ok((await page.locator(`#${expected}`).boundingBox()).y < 800, `${words}: not in sight`);
    }
  }
  await find.fill("");
  assert.equal(await said(page), "");
  assert.deepEqual(await shown(page), all);
  await find.press("Enter");
  assert.equal(await page.locator("#index a[aria-current]").count(), 0, "nothing was looked for");
  await find.fill("xyzzy");
  await find.press("Enter");
  assert.equal(await focused(page), "filter");
  assert.equal(await said(page), "Nothing found for “xyzzy”.");
});

reads("keys go through what was found", {}, async (page) => {
  await open(page);
  const find = page.locator("#filter");
  await find.fill("delete");
  const found = await shown(page);
  assert.ok(found.length > 2);
  const current = () => page.locator("#index a[aria-current=true]").innerText();
  for (const [key, index] of [["Enter", 0], ["Enter", 1], ["Shift+Enter", 0], ["Shift+Enter", found.length - 1], ["Enter", 0]]) {
    await find.press(key);
    assert.equal(await current(), found[index], key);
    assert.equal(await focused(page), "filter");
  }
  const at = () => page.evaluate(() => document.activeElement.textContent);
  await find.press("ArrowDown");
  assert.equal(await at(), found[0]);
  await page.keyboard.press("ArrowDown");
  assert.equal(await at(), found[1]);
  await page.keyboard.press("ArrowUp");
  await page.keyboard.press("ArrowUp");
  assert.equal(await focused(page), "filter");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  const goal = () => page.evaluate(() => document.activeElement.tagName + document.activeElement.parentElement.id);
  await page.waitForFunction(() => document.activeElement.tagName === "SUMMARY");
  assert.equal(await goal(), "SUMMARYdelete_session");
  // The same again, of which the address tells nothing.
  await find.focus();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  assert.equal(await goal(), "SUMMARYdelete_session");
});

reads("find unfolds the list where it is narrow", narrow, async (page) => {
  await open(page);
  const find = page.locator("#filter");
  await find.fill("rename");
  assert.deepEqual(await page.locator("#fold").getAttribute("aria-expanded"), "true");
  assert.ok((await shown(page)).includes("Give a session another title"));
  await isWithin(page);
  await find.press("Enter");
  assert.equal(await focused(page), "filter");
  assert.ok(await isOpen(page, "update_session"));
  const { y } = await page.locator("#update_session").boundingBox();
  assert.ok(y > 0 && y < 740, `${y}`);
});

reads("a button that was pressed keeps the focus", {}, async (page) => {
  await open(page, link);
  const form = await send(page, "create_session");
  const button = form.getByRole("button", { name: "Send" });
  await button.focus();
  await page.keyboard.press("Enter");
  await form.locator("[role=status]", { hasText: /^200 / }).waitFor();
  await form.locator("button.send[aria-disabled=false]").waitFor();
  assert.ok(await button.evaluate((element) => element === document.activeElement));

  // A run that is still going: its button does nothing more, and the other one ends it.
  const run = page.locator("#create_run form.try");
  await page.locator("#create_run > summary").click();
  await run.locator("textarea").fill('{"message":"/slow 400 one two three four five six seven eight nine ten"}');
  const sent = [];
  page.on("request", (request) => sent.push(request.url()));
  await run.getByRole("button", { name: "Send" }).focus();
  await page.keyboard.press("Enter");
  await run.locator(".answer", { hasText: "one" }).waitFor();
  await page.keyboard.press("Enter");
  const stop = run.getByRole("button", { name: "Stop" });
  await stop.focus();
  await page.keyboard.press("Enter");
  await run.locator("[role=status]", { hasText: "Stopped." }).waitFor();
  assert.ok(await stop.evaluate((element) => element === document.activeElement));
  assert.equal(await stop.getAttribute("aria-disabled"), "true");
  assert.equal(sent.length, 1);
});

async function violations(page) {
  // Not by a <script>, which the page's policy forbids.
  await page.evaluate(axe);
  const found = await page.evaluate(async () => (await window.axe.run({ resultTypes: ["violations"] })).violations);
  return found.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 4).map((node) => node.html.slice(0, 160)).join("\n  ")}`);
}

const picture = async (page, name) => {
  if (process.env.SCREENSHOTS) await page.screenshot({ path: `${process.env.SCREENSHOTS}/${name}.png` });
};

// Everything but the refusals, which are alike; those of one operation.
const unfoldAll = async (page) => {
  await page.evaluate(() => {
    for (const view of document.querySelectorAll("details")) {
      view.open = view.closest("#create_run") || !view.querySelector(":scope > summary > .bad");
    }
  });
  await page.waitForFunction(() =>
    [...document.querySelectorAll("#create_run details[open]:has(> summary > .bad)")].every((view) => view.querySelector("h3")));
};

for (const width of WIDTHS) {
  for (const colorScheme of SCHEMES) {
    reads(`axe finds nothing at ${width}, ${colorScheme}`, { viewport: { width, height: 800 }, colorScheme }, async (page) => {
      const name = `${width}-${colorScheme}`;
      await open(page);
      await picture(page, `${name}-closed`);
      assert.deepEqual(await violations(page), [], "closed");

      await page.locator("#filter").fill("xyzzy");
      await picture(page, `${name}-nothing`);
      assert.deepEqual(await violations(page), [], "where nothing is found");
      await page.locator("#filter").fill("send message");
      await picture(page, `${name}-find`);
      await page.locator("#filter").press("Enter");
      await page.locator("#token").fill(token);
      await picture(page, `${name}-found`);

      await talk(page);
      await page.locator("#create_run .buttons").evaluate((element) => element.scrollIntoView());
      await picture(page, `${name}-tried`);
      await isWithin(page);

      await page.locator("#filter").fill("");
      if (width < 800 && (await page.locator("#fold").getAttribute("aria-expanded")) === "false") await page.locator("#fold").click();
      await page.locator("#fold").evaluate((element) => element.parentElement.scrollIntoView());
      await picture(page, `${name}-list`);
      await unfoldAll(page);
      await page.locator("#create_run").evaluate((element) => element.scrollIntoView());
      await picture(page, `${name}-open`);
      await isWithin(page);
      assert.deepEqual(await violations(page), [], "open");
    });
  }
}
