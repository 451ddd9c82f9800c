// Numbers and times as people read them.

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

export function bytes(count) {
  if (count === null || count === undefined) return "";
  let unit = 0;
  while (count >= 1024 && unit < UNITS.length - 1) {
    count /= 1024;
    unit += 1;
  }
  return `${count >= 100 || unit === 0 ? Math.round(count) : count.toFixed(1)} ${UNITS[unit]}`;
}

export function seconds(time) {
  if (time === null || time === undefined) return "";
  if (time < 0.001) return `${Math.round(time * 1e6)} µs`;
  if (time < 1) return `${Math.round(time * 1000)} ms`;
  if (time < 60) return `${time < 10 ? time.toFixed(1) : Math.round(time)} s`;
  const minutes = Math.floor(time / 60);
  if (minutes < 60) return `${minutes} m ${Math.round(time % 60)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} m` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

export function since(at, now = Date.now()) {
  if (!at) return "";
  return seconds(Math.max(0, Math.floor((now - Date.parse(at)) / 1000)));
}

export function when(at) {
  if (!at) return "";
  const date = new Date(at);
  const isToday = date.toDateString() === new Date().toDateString();
  return isToday ? date.toLocaleTimeString() : date.toLocaleString();
}

/** Tokens per second. */
export function rate(speed) {
  if (!speed) return "";
  return speed < 10 ? speed.toFixed(1) : String(Math.round(speed));
}
