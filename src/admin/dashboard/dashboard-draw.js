// Elements, numbers and lines. Whatever comes from an app or a caller becomes text, never markup.

const SVG = 'http://www.w3.org/2000/svg';

// h('td', { class: 'name' }, 'text', element, ...)
export function h(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

export function s(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, '');
    else if (value !== false && value !== undefined && value !== null) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

// Changes a text only where it is another: what did not change is not laid out again.
export function say(element, text) {
  const value = String(text);
  if (element.textContent !== value) element.textContent = value;
}

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat('en', { maximumFractionDigits: 1, minimumFractionDigits: 1 });

export const count = (number) => whole.format(number);

export function rate(number) {
  if (number === 0) return '0';
  return number < 100 ? tenth.format(number) : whole.format(number);
}

// Milliseconds, in the unit that reads best.
export function time(ms) {
  if (ms === null || ms === undefined) return '–';
  if (ms < 0.995) return `${Math.round(ms * 1000)} µs`;
  if (ms < 9.95) return `${ms.toFixed(1)} ms`;
  if (ms < 995) return `${Math.round(ms)} ms`;
  if (ms < 59950) return `${(ms / 1000).toFixed(ms < 9950 ? 2 : 1)} s`;
  return `${Math.floor(ms / 60000)} min ${Math.round(ms / 1000) % 60} s`;
}

// A bound of a histogram: as it is, in milliseconds or seconds.
export const bound = (ms) => (ms < 1000 ? `${ms} ms` : `${ms / 1000} s`);

export function bytes(number) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  while (number >= 1024 && unit < units.length - 1) { number /= 1024; unit += 1; }
  return `${unit ? tenth.format(number) : whole.format(number)} ${units[unit]}`;
}

export const clock = (ms) => new Date(ms).toLocaleTimeString('en-GB', { hour12: false });

const WIDTH = 300;
const HEIGHT = 56;

// A small chart of the last minutes, now at the right edge.
export class Chart {
  constructor(label, lines, seconds) {
    this.seconds = seconds;
    this.lines = lines.map(({ pick, colour, area }) => ({
      pick,
      line: s('path', { class: `line-${colour}` }),
      area: area && s('path', { class: `area-${colour}` }),
    }));
    this.root = s('svg', { class: 'chart', viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': label },
      this.lines.map((line) => line.area), this.lines.map((line) => line.line));
  }

  draw(points) {
    const top = Math.max(1e-9, ...this.lines.flatMap(({ pick }) => points.map((point) => pick(point) ?? 0)));
    for (const { pick, line, area } of this.lines) {
      const path = trace(points.map(pick), this.seconds, WIDTH, HEIGHT, top);
      line.setAttribute('d', path.line);
      area?.setAttribute('d', path.area);
    }
  }
}

// Where there is no value the line is interrupted.
function trace(values, seconds, width, height, top) {
  const step = width / (seconds - 1);
  const start = width - (values.length - 1) * step;
  let line = '';
  let first;
  let last;
  let open = false;
  values.forEach((value, at) => {
    if (value === null || value === undefined) { open = false; return; }
    const x = (start + at * step).toFixed(1);
    const y = (height - 3 - (value / top) * (height - 8)).toFixed(1);
    line += `${open ? 'L' : 'M'}${x} ${y}`;
    first ??= x;
    last = x;
    open = true;
  });
  return { line, area: line && !line.slice(1).includes('M') ? `${line}L${last} ${height}L${first} ${height}Z` : '' };
}

export function spark() {
  const path = s('path');
  const root = s('svg', { class: 'spark', viewBox: '0 0 88 20', preserveAspectRatio: 'none', 'aria-hidden': 'true' }, path);
  const draw = (values) => {
    const top = Math.max(1e-9, ...values);
    path.setAttribute('d', values.length > 1 ? trace(values, 60, 88, 20, top).line : '');
  };
  return { root, draw };
}
