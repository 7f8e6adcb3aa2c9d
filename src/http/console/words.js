// Numbers and times as people read them.

const whole = new Intl.NumberFormat('en');
const short = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });

export const count = number => whole.format(number ?? 0);
export const rate = number => (number >= 100 ? whole.format(Math.round(number)) : short.format(number ?? 0));
export const percent = part => `${Math.round((part ?? 0) * 100)} %`;

export function bytes(number) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let left = number ?? 0;
  let unit = 0;
  while (left >= 1024 && unit < units.length - 1) {
    left /= 1024;
    unit += 1;
  }
  return `${short.format(left)} ${units[unit]}`;
}

/** Milliseconds in the two largest units that there are of it. */
export function lasting(milliseconds) {
  const seconds = Math.floor((milliseconds ?? 0) / 1000);
  if (seconds < 1) return `${Math.round(milliseconds ?? 0)} ms`;
  const units = [['d', 86_400], ['h', 3600], ['min', 60], ['s', 1]];
  const first = units.findIndex(([, size]) => seconds >= size);
  const parts = units.slice(first, first + 2).map(([unit, size], index) => {
    const above = index === 0 ? seconds : seconds % units[first][1];
    return [Math.floor(above / size), unit];
  });
  return parts.filter(([number]) => number > 0).map(([number, unit]) => `${number} ${unit}`).join(' ');
}

export const clock = (moment = new Date()) => moment.toLocaleTimeString([], { hour12: false });
export const since = milliseconds => lasting(Math.max(0, Date.now() - milliseconds));
export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;
