// Keeps the page up to date: fragments come as server-sent events, and only what differs is changed in place, so that
// focus, selection and what is unfolded stay as they are. Without this file the page is as it was when it was loaded.

const live = document.body.dataset.live;
const pulse = document.getElementById("pulse");
const aloud = document.getElementById("aloud");

function sameKind(old, fresh) {
  return old.nodeType === fresh.nodeType && old.nodeName === fresh.nodeName && old.id === fresh.id;
}

function become(old, fresh) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  if (old.isEqualNode(fresh)) return;
  // What a person has typed or chosen is theirs until they send it.
  if (old.matches?.("input, select, textarea")) return;
  for (const { name, value } of fresh.attributes ?? []) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const { name } of [...(old.attributes ?? [])]) {
    if (!fresh.hasAttribute(name) && !(name === "open" && old.nodeName === "DETAILS")) old.removeAttribute(name);
  }
  const now = [...old.childNodes];
  const next = [...fresh.childNodes];
  next.forEach((child, index) => {
    if (index >= now.length) old.append(child);
    else if (sameKind(now[index], child)) become(now[index], child);
    else now[index].replaceWith(child);
  });
  now.slice(next.length).forEach((child) => child.remove());
}

function ago(seconds) {
  const left = Math.abs(Math.trunc(seconds));
  const [days, hours, minutes] = [Math.trunc(left / 86400), Math.trunc(left / 3600), Math.trunc(left / 60)];
  const words =
    days > 1 ? `${days} days` : hours > 9 ? `${hours} h` : hours ? `${hours} h ${minutes % 60} min` : minutes ? `${minutes} min` : `${left} s`;
  return seconds < 0 ? `in ${words}` : `${words} ago`;
}

function tellTimes() {
  for (const time of document.querySelectorAll("time")) {
    const at = new Date(time.dateTime);
    const exact = time.dataset.exact ?? (time.dataset.exact = time.textContent);
    const words = time.closest(".ago") ? ago((Date.now() - at) / 1000) : time.closest(".clock") ? exact.slice(11) : exact;
    if (time.textContent !== words) time.textContent = words;
    if (time.title !== exact) time.title = exact;
  }
}

function feel(state, words) {
  if (!pulse) return;
  pulse.dataset.pulse = state;
  pulse.textContent = words;
}

function put({ name, mark, html }) {
  const piece = document.querySelector(`[data-piece="${CSS.escape(name)}"]`);
  if (!piece || piece.dataset.mark === mark) return;
  const fresh = document.createElement("div");
  fresh.innerHTML = html;
  // Times are compared as they were sent, not as they are told.
  for (const time of piece.querySelectorAll("time[data-exact]")) {
    time.textContent = time.dataset.exact;
    time.removeAttribute("data-exact");
    time.removeAttribute("title");
  }
  for (const attribute of piece.attributes) fresh.setAttribute(attribute.name, attribute.value);
  fresh.dataset.mark = mark;
  become(piece, fresh);
  tellTimes();
}

let stream;

function follow() {
  stream = new EventSource(`${live}?page=${encodeURIComponent(location.pathname + location.search)}`);
  let spoken = false;
  stream.onopen = () => feel("live", "live");
  stream.onerror = () => {
    if (stream.readyState === EventSource.CLOSED) feel("lost", "no live updates; reload to see what is new");
    else feel("lost", "connection lost, trying again");
  };
  stream.addEventListener("fragment", ({ data }) => {
    feel("live", "live");
    put(JSON.parse(data));
  });
  stream.addEventListener("headline", ({ data }) => {
    const { words, title } = JSON.parse(data);
    document.title = `${title} · Backstay`;
    if (spoken && words) aloud.textContent = words;
    spoken = true;
  });
  stream.addEventListener("troubled", ({ data }) => feel("lost", JSON.parse(data).words));
  stream.addEventListener("recovered", () => feel("live", "live"));
  stream.addEventListener("ended", ({ data }) => {
    stream.close();
    const { words } = JSON.parse(data);
    feel("lost", words);
    aloud.textContent = words;
    // What may no longer be seen does not stay on the screen.
    document.querySelectorAll("[data-piece]").forEach((piece) => piece.remove());
  });
  stream.addEventListener("ended", () => (stream = undefined));
}

tellTimes();
setInterval(tellTimes, 1000);
if (live) {
  follow();
  addEventListener("pagehide", () => stream?.close());
  // A browser opens six connections to one server; tabs that nobody looks at must not use them up.
  document.addEventListener("visibilitychange", () => {
    if (!stream) return;
    if (document.hidden) stream.close();
    else if (stream.readyState === EventSource.CLOSED) follow();
  });
}
// A page that comes back from the browser's memory is old, and perhaps not the reader's any more.
addEventListener("pageshow", ({ persisted }) => persisted && location.reload());
