// The token, and what the address says.

const KEPT = byId("kept").textContent;

// A token without what stands around it where it was copied: quotes, a header's name, the scheme.
function bare(text) {
  let rest = text;
  for (let before; before !== rest;) {
    before = rest;
    rest = rest.trim().replace(/^["'`]+|["'`]+$/g, "")
      .replace(/^(?:authorization\s*[:=]|bearer(?:\s*:|\s+|$)|token=)/i, "");
  }
  // What a terminal broke is one line.
  return rest.replace(/\s*[\r\n]\s*/g, "");
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

// Says whose a token says it is and until when, as far as it is one that can be read; whether it is
// valid, only the gateway knows. What would turn the text around it is left out.
function whose(token) {
  let claims;
  try {
    const part = token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/");
    claims = JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(part), (c) => c.charCodeAt(0))));
  } catch {
    return "";
  }
  const said = [];
  if (typeof claims?.sub === "string" || typeof claims?.sub === "number") {
    said.push(`for ${String(claims.sub).replace(/\p{Cf}/gu, "").slice(0, 80)}`);
  }
  const end = new Date(claims?.exp * 1000);
  if (typeof claims?.exp === "number" && !Number.isNaN(end.getTime())) {
    said.push(`${end > Date.now() ? "until" : "over since"} ${end.toLocaleString()}`);
  }
  return said.length ? ` It says it is ${said.join(", ")}.` : "";
}

// Takes the token of a link, `/docs#token=…`, out of the address: what stands there ends up in
// bookmarks and on screens. It was never sent: a fragment isn't. But a browser may have the link in its
// history by now, and no page can take it out of there. A link replaces no token: whoever made it may
// be somebody else.
function takeToken() {
  const [, text] = /^#token=(.*)/s.exec(location.hash) || [];
  if (text === undefined) return;
  history.replaceState(null, "", location.pathname + location.search);
  const token = bare(decoded(text));
  if (!token) return;
  const isTaken = !byId("token").value;
  if (isTaken) byId("token").value = token;
  byId("kept").textContent = isTaken
    ? `Taken from the link, which the browser’s history may keep.${whose(token)}`
    : `Not taken from the link: a token is here already.${whose(bare(byId("token").value))}`;
}

// Opens an operation and scrolls to it.
function reveal(target) {
  if (target.tagName !== "DETAILS") return;
  target.open = true;
  target.scrollIntoView();
}

// Goes there, as a link does: keys go on from there, too.
function goTo(target) {
  reveal(target);
  (target.querySelector("summary") || target).focus({ preventScroll: true });
}

function followAddress() {
  takeToken();
  const target = location.hash && byId(decoded(location.hash.slice(1)));
  if (target && target.matches("details.operation, #token")) goTo(target);
}

byId("login").addEventListener("submit", (event) => event.preventDefault());
byId("token").addEventListener("input", (event) => { byId("kept").textContent = KEPT + whose(bare(event.target.value)); });
byId("token").addEventListener("change", (event) => { event.target.value = bare(event.target.value); });
// Before the field makes one line of it, and a word of `Bearer` and the token in the next line.
byId("token").addEventListener("paste", (event) => {
  event.preventDefault();
  const field = event.target;
  field.setRangeText(bare(event.clipboardData.getData("text")), field.selectionStart, field.selectionEnd, "end");
  field.dispatchEvent(new Event("input", { bubbles: true }));
});

takeToken();
fetch("openapi.json").then((response) => {
  if (!response.ok) throw new Error(`openapi.json is ${response.status}`);
  return response.json();
}).then((found) => {
  api = found;
  render();
  followAddress();
  addEventListener("hashchange", followAddress);
}).catch((error) => {
  byId("lead").textContent = `The document could not be shown: ${error.message}`;
});
