// Numbers as Grafana writes them, near enough.
const round = (value, digits = 3) => String(Number(value.toPrecision(digits)));

function scaled(value, base, names) {
  let step = 0;
  while (Math.abs(value) >= base && step < names.length - 1) [value, step] = [value / base, step + 1];
  return `${round(value)} ${names[step]}`.trim();
}

function seconds(value) {
  const size = Math.abs(value);
  if (size === 0) return '0 s';
  if (size < 1e-3) return `${round(value * 1e6)} µs`;
  if (size < 1) return `${round(value * 1e3)} ms`;
  if (size < 60) return `${round(value)} s`;
  if (size < 3600) return `${round(value / 60)} min`;
  return size < 86400 ? `${round(value / 3600)} h` : `${round(value / 86400)} d`;
}

const thousands = value => scaled(value, 1000, ['', 'K', 'Mil', 'Bil']);
const bytes = value => scaled(value, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB']);
const UNITS = {
  short: thousands,
  s: seconds,
  bytes,
  Bps: value => `${scaled(value, 1000, ['B', 'kB', 'MB', 'GB'])}/s`,
  percentunit: value => `${round(value * 100)} %`,
  ops: value => `${thousands(value)} ops/s`,
  reqps: value => `${thousands(value)} req/s`,
  mps: value => `${thousands(value)} msg/s`,
};

function written(value, unit) {
  if (value === null || value === undefined || Number.isNaN(value)) return '-';
  const write = UNITS[unit];
  if (!write) throw new Error(`no such unit: ${unit}`);
  return write(value);
}
