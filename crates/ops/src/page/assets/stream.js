// One stream of events by fetch, since that can carry a token and EventSource cannot.

const WAIT_MS = [500, 1000, 2000, 5000];
const SILENT_MS = 10000;

export const token = {
  get: () => sessionStorage.getItem("stopwatt-token"),
  set: (value) => sessionStorage.setItem("stopwatt-token", value),
  drop: () => sessionStorage.removeItem("stopwatt-token"),
};

export function ask(path, signal) {
  const headers = token.get() ? { Authorization: "Bearer " + token.get() } : {};
  return fetch(path, { headers, signal, cache: "no-store", credentials: "omit" });
}

// Calls `on.hello`, `on.frame` with parsed events, `on.state` with "up", "down" or "denied". Comes back by itself, and
// asks for what it missed.
export async function follow(on) {
  let last = 0;
  for (let tries = 0; ; tries++) {
    const stop = new AbortController();
    let watchdog = setTimeout(() => stop.abort(), SILENT_MS);
    try {
      const answer = await ask("/page/live?after=" + last, stop.signal);
      if (answer.status === 401) {
        clearTimeout(watchdog);
        await on.denied(token.get() !== null);
        tries = -1;
        continue;
      }
      if (!answer.ok) throw new Error(String(answer.status));
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        clearTimeout(watchdog);
        watchdog = setTimeout(() => stop.abort(), SILENT_MS);
        text += value;
        for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) {
          const lines = text.slice(0, end).split("\n");
          const of = (name) => lines.find((l) => l.startsWith(name + ": "))?.slice(name.length + 2);
          const data = JSON.parse(of("data"));
          if (of("event") === "hello") {
            tries = 0;
            on.hello(data, last > 0);
            last = data.frames.length ? data.frames[data.frames.length - 1][0] : last;
          } else {
            on.frame(data);
            last = Number(of("id")) || last;
          }
          on.state("up");
        }
      }
    } catch {
      // Tried again below, and shown as a lost connection.
    }
    clearTimeout(watchdog);
    on.state("down");
    await new Promise((go) => setTimeout(go, WAIT_MS[Math.min(Math.max(tries, 0), WAIT_MS.length - 1)]));
  }
}
