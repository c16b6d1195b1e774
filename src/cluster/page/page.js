// Asks the agent each second and shows what it says. All text of others is put in as text, never as markup.
"use strict";

const PAUSE = 1000;
const PATIENCE = 5000;
const byId = (id) => document.getElementById(id);
let last = null;
let lastAt = null;

const words = { true: "yes", false: "no" };
const time = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/;
const text = (value) => typeof value === "string" && time.test(value) ? value.slice(0, 19).replace("T", " ") + " UTC" : plain(value);
const plain = (value) => value === null || value === undefined ? "" : Array.isArray(value) ? value.join(", ") : String(words[value] ?? value);

// The columns of each table: a name for people, what it shows, and when that is a good or a bad sign.
const TABLES = {
  conflicts: { empty: "None.", columns: [["What", "what"], ["Where", "where"], ["Address", "address"], ["Why", "why"], ["Since", "since"]], sign: ["what", () => "bad"] },
  hosts: { empty: "None are known.", columns: [["Name", "name"], ["Address", "address"], ["Role", "role"], ["Consul", "consul"], ["Agent", "agent"], ["Addresses", "uses"]],
    sign: ["consul", (row) => row.consul === "alive" ? "well" : "bad"], second: ["agent", (row) => row.agent === "passing" ? "well" : "bad"] },
  addresses: { empty: "None are claimed.", columns: [["Address", "addr"], ["Owner", "owner"], ["Pool", "pool"], ["In use on", "host"], ["Container", "container"], ["Since", "since"]] },
  pools: { empty: "None are configured.", columns: [["Name", "name"], ["Subnet", "subnet"], ["Gateway", "gateway"], ["Claimed", "claimed"], ["In use", "used"]] },
  links: { empty: "None.", columns: [["Guest", "guest"], ["Interface", "interface"], ["Addresses", "addresses"], ["On", "on"], ["Host end", "host_link"], ["MTU", "mtu"], ["Standing", "standing"], ["Why", "problem"]],
    sign: ["standing", (row) => row.standing === "ok" ? "well" : "bad"] },
  events: { empty: "Nothing yet.", columns: [["When", "at"], ["What", "kind"], ["Guest", "guest"], ["Addresses", "addresses"], ["Why", "why"]],
    sign: ["kind", (row) => ["failed", "lost", "refused", "warning"].includes(row.kind) ? "bad" : ""] },
};

function element(name, content, className) {
  const made = document.createElement(name);
  if (content !== undefined) made.textContent = content;
  if (className) made.className = className;
  return made;
}

function table(name, rows) {
  const { empty, columns, sign, second } = TABLES[name];
  if (rows.length === 0) return element("p", empty, "none");
  const made = element("table");
  made.append(element("caption"));
  made.caption.hidden = true;
  made.caption.textContent = byId(`${name}-title`).textContent;
  const head = element("tr");
  for (const [title] of columns) head.append(Object.assign(element("th", title), { scope: "col" }));
  const thead = element("thead");
  thead.append(head);
  const body = element("tbody");
  for (const row of rows) {
    const line = element("tr");
    for (const [title, key] of columns) {
      const mark = [sign, second].find((one) => one && one[0] === key);
      const cell = element("td", text(row[key]), mark ? mark[1](row) : "");
      cell.dataset.name = title;
      line.append(cell);
    }
    body.append(line);
  }
  made.append(thead, body);
  return made;
}

function show() {
  if (!last) return;
  const filter = byId("filter").value.trim().toLowerCase();
  byId("cluster").textContent = `${text(last.cluster)}, seen from ${text(last.host)}`;
  let all = 0, shown = 0;
  for (const name of Object.keys(TABLES)) {
    const rows = last[name] ?? [];
    const columns = TABLES[name].columns;
    const kept = rows.filter((row) => !filter || columns.some(([, key]) => text(row[key]).toLowerCase().includes(filter)));
    all += rows.length;
    shown += kept.length;
    const section = byId(name);
    const old = section.querySelector("table, p");
    const made = table(name, kept);
    // What is the same stays: a selection in it, and where a reader is.
    if (!old) section.append(made);
    else if (old.outerHTML !== made.outerHTML) old.replaceWith(made);
  }
  byId("shown").textContent = filter ? `${shown} of ${all} lines` : "";
}

function state(content, className) {
  const line = byId("state");
  if (line.textContent !== content) line.textContent = content;
  line.className = className;
}

async function ask() {
  try {
    const answer = await fetch("/v1/cluster", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
    if (!answer.ok) throw new Error(`the agent answers ${answer.status}`);
    const news = await answer.json();
    if (news.ready) {
      last = news;
      lastAt = new Date();
      show();
      state(text(last.session), last.session_is_live ? "well" : "bad");
    }
  } catch (error) {
    const since = lastAt ? `, this is how it was at ${lastAt.toLocaleTimeString()}` : "";
    state(`The agent does not answer${since}. Asking again ...`, "bad");
  }
  setTimeout(ask, PAUSE);
}

byId("filter").addEventListener("input", show);
document.addEventListener("keydown", (event) => {
  const field = byId("filter");
  if (event.key === "/" && document.activeElement !== field) {
    event.preventDefault();
    field.focus();
  } else if (event.key === "Escape" && document.activeElement === field) {
    field.value = "";
    show();
  }
});
ask();
