// One function a kind of panel.
const CELL = { width: 1584 / 24, height: 30, gap: 8 };
const COLOURS = ['#73bf69', '#f2cc0c', '#5794f2', '#ff9830', '#f2495c', '#b877d9', '#8ab8ff', '#c8f2c2', '#ffa6b0', '#fade2a', '#37872d', '#e02f44'];
const NAMED = { green: '#73bf69', yellow: '#f2cc0c', red: '#f2495c', blue: '#5794f2' };

function element(kind, parent, text, className) {
  const made = document.createElement(kind);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  parent.append(made);
  return made;
}

const last = values => values.findLast(value => value !== null);
const most = values => (last(values) === undefined ? undefined : Math.max(...values.filter(value => value !== null)));
const isEmpty = series => !series.some(({ values }) => values.some(value => value !== null));

function stat(box, panel, { times, series }, width, height) {
  const { unit, thresholds, noValue } = panel.fieldConfig.defaults;
  const value = series.length ? last(series[0].values) : undefined;
  const step = thresholds.steps.findLast(each => each.value === null || value >= each.value);
  const colour = NAMED[step.color];
  element('div', box, value === undefined ? noValue : written(value, unit), 'big').style.color = colour;
  if (panel.options.graphMode !== 'area' || isEmpty(series)) return;
  const spark = element('div', box, undefined, 'spark');
  const axes = [{ show: false }, { show: false }];
  const options = { width, height: height - 92, axes, legend: { show: false }, cursor: { show: false }, padding: [0, 0, 0, 0], series: [{}, { stroke: colour, fill: `${colour}33` }] };
  new uPlot(options, [times, series[0].values], spark);
}

function timeseries(box, panel, { times, series }, width, height) {
  const { unit, min, max, custom } = panel.fieldConfig.defaults;
  const stacked = custom.stacking.mode === 'normal';
  const sums = times.map(() => 0);
  const shown = series.map(({ values }) => (stacked ? values.map((value, at) => (value === null ? null : (sums[at] += value))) : values));
  const style = series.map((_, at) => ({ stroke: COLOURS[at % COLOURS.length], width: 1, fill: `${COLOURS[at % COLOURS.length]}${stacked ? '40' : '14'}` }));
  const bands = stacked ? series.slice(1).map((_, at) => ({ series: [at + 2, at + 1] })) : [];
  const axis = { stroke: '#8e8e9a', grid: { stroke: '#2c2f36', width: 1 }, ticks: { show: false } };
  const axes = [axis, { ...axis, size: 74, values: (_, splits) => splits.map(value => written(value, unit)) }];
  const range = (_, low, high) => [min ?? low, max ?? (high > (min ?? low) ? high * 1.05 : 1)];
  const lines = Math.min(series.length, 4);
  const legend = 18 + 15 * lines;
  const options = { width, height: height - 30 - legend, axes, bands, scales: { y: { range } }, legend: { show: false }, cursor: { show: false }, series: [{}, ...style] };
  new uPlot(options, [times, ...shown], element('div', box));
  const table = element('table', element('div', box, undefined, 'legend'));
  const head = element('tr', table);
  for (const name of ['Name', 'Last *', 'Max']) element('th', head, name);
  const sorted = series.map((each, colour) => ({ ...each, colour })).sort((a, b) => (most(b.values) ?? -1) - (most(a.values) ?? -1));
  sorted.slice(0, lines).forEach(({ legend: name, values, colour }, at) => {
    const line = element('tr', table);
    const cell = element('td', line);
    element('span', cell, undefined, 'swatch').style.background = COLOURS[colour % COLOURS.length];
    cell.append(name + (at === lines - 1 && series.length > lines ? ` … and ${series.length - lines} more` : ''));
    element('td', line, written(last(values), unit));
    element('td', line, written(most(values), unit));
  });
}

function heatmap(box, panel, { times, series }, width, height) {
  const sorted = [...series].sort((a, b) => Number(a.legend.replace('+Inf', 'Infinity')) - Number(b.legend.replace('+Inf', 'Infinity')));
  // Buckets are cumulative.
  const counts = sorted.map(({ values }, at) => values.map((value, time) => (value ?? 0) - (at ? (sorted[at - 1].values[time] ?? 0) : 0)));
  const full = Math.max(...counts.flat(), 1e-9);
  const canvas = element('canvas', box);
  Object.assign(canvas, { width, height: height - 40 });
  const paint = canvas.getContext('2d');
  const [left, cell] = [64, (height - 60) / sorted.length];
  paint.font = '10px system-ui';
  sorted.forEach(({ legend }, at) => {
    const top = height - 60 - cell * (at + 1);
    paint.fillStyle = '#8e8e9a';
    paint.fillText(legend === '+Inf' ? '+Inf' : written(Number(legend), panel.options.yAxis.unit), 4, top + cell / 2 + 3);
    times.forEach((_, time) => {
      if (counts[at][time] <= 0) return;
      paint.fillStyle = `rgba(87, 148, 242, ${0.15 + (0.85 * counts[at][time]) / full})`;
      const step = (width - left - 8) / times.length;
      paint.fillRect(left + time * step, top + 1, Math.ceil(step), cell - 1);
    });
  });
}

function table(box, panel, { columns }) {
  const names = [...new Set(columns.flatMap(column => column.map(each => each.labels.instance)))].sort();
  const units = Object.fromEntries(panel.fieldConfig.overrides.map(each => [each.matcher.options, each.properties[0].value]));
  const labels = ['version', 'revision'];
  const made = element('table', box);
  made.style.fontSize = '13px';
  const head = element('tr', made);
  const shown = panel.targets.slice(1); // the first is there for its labels
  for (const name of ['instance', ...labels, ...shown.map(target => target.legendFormat)]) element('th', head, name);
  for (const name of names) {
    const line = element('tr', made);
    element('td', line, name);
    const found = columns.map(column => column.find(each => each.labels.instance === name));
    for (const label of labels) element('td', line, found.map(each => each?.labels[label]).find(Boolean) ?? '-');
    shown.forEach(({ legendFormat }, at) => element('td', line, written(found[at + 1]?.value, units[legendFormat])));
  }
}

const KINDS = { stat, timeseries, heatmap, table };

function draw({ board, data }) {
  element('h1', document.body, board.title);
  element('p', document.body, board.description);
  const grid = element('div', document.body);
  grid.id = 'grid';
  let bottom = 0;
  for (const panel of board.panels) {
    const { x, y, w, h } = panel.gridPos;
    const box = element('div', grid, undefined, panel.type === 'row' ? 'row' : 'panel');
    const [width, height] = [w * CELL.width - CELL.gap, h * (CELL.height + CELL.gap) - CELL.gap];
    Object.assign(box.style, { left: `${x * CELL.width}px`, top: `${y * (CELL.height + CELL.gap)}px`, width: `${width}px`, height: `${height}px` });
    bottom = Math.max(bottom, (y + h) * (CELL.height + CELL.gap));
    element('h2', box, panel.title);
    if (panel.type === 'row') continue;
    const found = data[panel.id];
    const empty = panel.type === 'table' ? !found.columns.some(column => column.length) : isEmpty(found.series);
    if (empty && panel.type !== 'stat') element('div', box, 'No data', 'none');
    else KINDS[panel.type](box, panel, found, width - 2, height - 2);
  }
  grid.style.height = `${bottom + 8}px`;
}
