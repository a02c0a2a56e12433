// The first page: the gateway as a whole, and the table of its apps.

import { SECONDS, isInTrouble } from './dashboard-data.js';
import { Chart, bound, count, h, rate, say, spark, time } from './dashboard-draw.js';

const ROWS = 50;

const COLUMNS = [
  { id: 'name', title: 'App', of: (app) => app.id },
  { id: 'trend', title: 'Last minute', still: true },
  { id: 'rate', title: 'Requests/s', of: (app) => app.rate },
  { id: 'failures', title: 'Errors/s', of: (app) => app.failures },
  { id: 'mean', title: 'Mean', of: (app) => app.mean ?? -1 },
  { id: 'p99', title: 'p99', of: (app) => app.p99 ?? -1, optional: true },
  { id: 'inFlight', title: 'In flight', of: (app) => app.inFlight },
  { id: 'waiting', title: 'Waiting', of: (app) => app.waiting },
  { id: 'ready', title: 'Endpoints', of: (app) => (app.endpoints ? app.ready / app.endpoints : -1) },
];

const KINDS = [
  { id: 'all', title: 'All', is: () => true },
  { id: 'busy', title: 'Busy', is: (app) => app.rate > 0 || app.inFlight > 0 || app.waiting > 0 },
  { id: 'trouble', title: 'In trouble', is: isInTrouble },
];

// Kept while the page is: whoever comes back from an app finds the table as he left it.
const shown = { search: '', sort: 'rate', down: true, kind: 'all', page: 0 };

export class Overview {
  constructor(data) {
    this.data = data;
    this.rows = [];
    this.element = h('div', {}, h('h1', { class: 'visually-hidden' }, 'Overview'), this.#cards(), ...this.#table());
    this.update();
  }

  #cards() {
    const last = (name) => this.data.points.at(-1)?.[name];
    const card = (title, chart, figure, unit, beside, key) => {
      const number = h('span');
      const texts = beside.map(({ key, title, of }) => {
        const value = h('b');
        return { of, value, element: h('span', {}, key && h('i', { class: `key ${key}`, 'aria-hidden': 'true' }), `${title} `, value) };
      });
      const element = h('section', { class: 'card' }, h('h2', {}, title, key && h('i', { class: `key ${key}`, 'aria-hidden': 'true' })),
        h('p', { class: 'figure' }, number, unit && h('small', {}, unit)),
        h('p', { class: 'beside' }, texts.map((text) => text.element)), chart.root);
      const update = () => {
        say(number, figure());
        texts.forEach(({ of, value }) => say(value, of()));
        chart.draw(this.data.points);
      };
      return { element, update };
    };
    const per = (name) => rate(last(name) ?? 0);
    this.cards = [
      card('Requests per second', new Chart('Requests per second, last five minutes', [{ pick: (p) => p.rate, colour: 'accent', area: true }], SECONDS),
        () => per('rate'), '/s', [{ title: 'most', of: () => rate(Math.max(0, ...this.data.points.map((p) => p.rate))) }, { title: 'apps', of: () => count(this.data.total) }]),
      card('Errors per second', new Chart('Errors per second, last five minutes', [{ pick: (p) => p.failures, colour: 'bad', area: true }], SECONDS),
        () => per('failures'), '/s', [{ title: 'of all', of: () => share(last('failures'), last('rate')) }, { title: 'refused (4xx)', of: () => `${per('refusals')}/s` }]),
      card('Latency, 99th percentile', new Chart('Latency percentiles, last five minutes', [
        { pick: (p) => p.p99, colour: 'third' }, { pick: (p) => p.p95, colour: 'second' }, { pick: (p) => p.p50, colour: 'accent' }], SECONDS),
      () => time(last('p99')), '', [
        { key: 'first', title: 'p50', of: () => time(last('p50')) },
        { key: 'second', title: 'p95', of: () => time(last('p95')) }], 'third'),
      card('Requests in flight', new Chart('Requests in flight, last five minutes', [{ pick: (p) => p.inFlight, colour: 'accent', area: true }, { pick: (p) => p.waiting, colour: 'third' }], SECONDS),
        () => count(last('inFlight') ?? 0), '', [{ title: 'waiting', of: () => count(last('waiting') ?? 0) }, { title: 'connections', of: () => count(last('connections') ?? 0) }]),
    ];
    return h('div', { class: 'cards' }, this.cards.map((one) => one.element));
  }

  #table() {
    this.count = h('span', { class: 'count' });
    this.kinds = KINDS.map((kind) => ({
      kind, button: h('button', { type: 'button', onclick: () => { shown.kind = kind.id; shown.page = 0; this.update(); } }),
    }));
    this.heads = COLUMNS.map((column) => ({
      column,
      cell: h('th', { scope: 'col', class: names(column) }, column.still ? h('span', {}, column.title)
        : h('button', { type: 'button', onclick: () => this.#sort(column.id) }, column.title)),
    }));
    this.body = h('tbody');
    this.table = h('table', { 'aria-label': 'Apps' }, h('thead', {}, h('tr', {}, this.heads.map((head) => head.cell))), this.body);
    this.sheet = h('div', { class: 'sheet' }, this.table);
    this.empty = h('div', { class: 'sheet', hidden: true });
    this.back = h('button', { type: 'button', class: 'plain', onclick: () => this.#turn(-1) }, 'Previous');
    this.next = h('button', { type: 'button', class: 'plain', onclick: () => this.#turn(1) }, 'Next');
    this.range = h('span');
    this.pager = h('div', { class: 'pager' }, this.range, this.back, this.next);
    return [
      h('div', { class: 'section' }, h('h2', {}, 'Apps'), this.count,
        h('div', { class: 'chips', role: 'group', 'aria-label': 'Which apps' }, this.kinds.map((one) => one.button))),
      this.sheet, this.empty, this.pager,
    ];
  }

  #sort(id) {
    shown.down = shown.sort === id ? !shown.down : id !== 'name';
    shown.sort = id;
    shown.page = 0;
    this.update();
  }

  #turn(by) {
    shown.page += by;
    this.update();
    this.sheet.scrollIntoView({ block: 'nearest' });
  }

  search(text) {
    if (shown.search === text) return;
    shown.search = text;
    shown.page = 0;
    clearTimeout(this.asking);
    if (this.data.partial && text) this.asking = setTimeout(() => this.data.find(text), 250);
    this.update();
  }

  links() {
    return this.rows.filter((row) => !row.element.hidden).map((row) => row.link);
  }

  second() {
    this.update(this.body.matches(':hover') || this.body.contains(document.activeElement));
  }

  // `held`: nothing moves under a pointer, or from under the focus.
  update(held = false) {
    this.cards.forEach((card) => card.update());
    const words = shown.search.toLowerCase().split(/\s+/).filter(Boolean);
    const found = [...this.data.apps.values()].filter((app) => words.every((word) => app.id.includes(word) || app.hosts.includes(word)));
    const kind = KINDS.find((one) => one.id === shown.kind);
    for (const { kind: one, button } of this.kinds) {
      const title = one.id === 'trouble' ? `${one.title} ${count(found.filter(one.is).length)}` : one.title;
      say(button, title);
      button.setAttribute('aria-pressed', String(one === kind));
    }
    const apps = found.filter(kind.is);
    const column = COLUMNS.find((one) => one.id === shown.sort);
    const way = shown.down ? -1 : 1;
    apps.sort((a, b) => {
      const [x, y] = [column.of(a), column.of(b)];
      return x < y ? -way : x > y ? way : a.id < b.id ? -1 : 1;
    });
    const pages = Math.max(1, Math.ceil(apps.length / ROWS));
    shown.page = Math.min(Math.max(0, shown.page), pages - 1);
    for (const { column: one, cell } of this.heads) {
      if (one.id === shown.sort) cell.setAttribute('aria-sort', shown.down ? 'descending' : 'ascending');
      else cell.removeAttribute('aria-sort');
    }
    if (!held) this.shownApps = apps.slice(shown.page * ROWS, (shown.page + 1) * ROWS);
    this.#show(this.shownApps);
    const first = shown.page * ROWS + 1;
    say(this.count, words.length || kind.id !== 'all' ? `${count(apps.length)} of ${count(this.data.total)}` : count(this.data.total));
    say(this.range, `${count(first)}–${count(Math.min(apps.length, first + ROWS - 1))} of ${count(apps.length)}`);
    this.back.disabled = shown.page === 0;
    this.next.disabled = shown.page === pages - 1;
    this.pager.hidden = pages === 1;
    this.#tell(apps.length, words.length > 0);
  }

  // The rows stay, and change what they show: a table that is made anew each second would lose the
  // focus and the place of whoever reads it.
  #show(apps) {
    while (this.rows.length < apps.length) {
      const row = new Row();
      this.rows.push(row);
      this.body.append(row.element);
    }
    this.rows.forEach((row, at) => row.show(apps[at]));
  }

  #tell(found, searched) {
    this.empty.hidden = found > 0;
    this.sheet.hidden = found === 0;
    if (found > 0) return;
    const [title, text] = this.data.phase === 'connecting' ? ['Connecting', 'The first numbers come in a second.']
      : this.data.total === 0 ? ['No apps yet', 'An app in the configuration shows here as soon as it is applied.']
        : searched ? ['Nothing found', 'No app or host has this in its name. Esc clears the search.']
          : shown.kind === 'trouble' ? ['No app is in trouble', 'No request fails or waits, and every endpoint is ready.']
            : ['All is quiet', 'No app has a request under way.'];
    this.empty.replaceChildren(h('p', { class: 'empty' }, h('b', {}, title), text));
  }
}

class Row {
  constructor() {
    this.organization = h('span', { class: 'organization' });
    this.name = h('span', { class: 'app' });
    this.link = h('a', {}, this.organization, this.name);
    this.trend = spark();
    this.dot = h('i', { class: 'dot', 'aria-hidden': 'true' });
    this.ready = h('span');
    this.cells = Object.fromEntries(COLUMNS.map((column) => [column.id, h('td', { class: names(column) })]));
    this.cells.name.append(this.link);
    this.cells.trend.append(this.trend.root);
    this.cells.ready.append(h('span', { class: 'endpoints' }, this.dot, this.ready));
    this.element = h('tr', {}, COLUMNS.map((column) => this.cells[column.id]));
  }

  show(app) {
    this.element.hidden = !app;
    if (!app) return;
    this.link.setAttribute('href', `#/apps/${app.id}`);
    say(this.organization, `${app.organization}/`);
    say(this.name, app.name);
    this.trend.draw(app.trend);
    this.#number('rate', rate(app.rate), app.rate > 0);
    this.#number('failures', rate(app.failures), app.failures > 0, 'bad');
    this.#number('mean', time(app.mean), app.mean !== null);
    this.#number('p99', app.p99 === null ? '–' : app.p99 < 0 ? '> 10 s' : `≤ ${bound(app.p99)}`, app.p99 !== null);
    this.#number('inFlight', count(app.inFlight), app.inFlight > 0);
    this.#number('waiting', count(app.waiting), app.waiting > 0, 'warn');
    say(this.ready, app.endpoints ? `${app.ready} of ${app.endpoints}` : 'none');
    const health = app.endpoints === 0 || app.ready === 0 ? 'bad' : app.ready < app.endpoints ? 'warn' : 'good';
    this.dot.className = `dot ${health}`;
  }

  #number(id, text, counts, colour = '') {
    const cell = this.cells[id];
    say(cell, text);
    const column = COLUMNS.find((one) => one.id === id);
    cell.className = `${names(column)} ${counts ? colour : 'zero'}`;
  }
}

function names(column) {
  return `${column.id === 'name' ? 'name' : ''} ${column.optional ? 'optional' : ''}`.trim();
}

function share(part, whole) {
  if (!part || !whole) return '0 %';
  const percent = (part / whole) * 100;
  return percent < 0.1 ? '< 0.1 %' : `${percent.toFixed(percent < 10 ? 1 : 0)} %`;
}
