// One app: its numbers, its endpoints, its last executions. And one execution.

import { get, isSound } from './dashboard-data.js';
import { Chart, bound, bytes, clock, count, h, rate, s, say, time } from './dashboard-draw.js';

const TREND = 60;

export class App {
  constructor(data, organization, name) {
    this.data = data;
    this.id = `${organization}/${name}`;
    this.path = `/apps/${encodeURIComponent(organization)}/${encodeURIComponent(name)}`;
    this.failed = false;
    this.links_ = [];
    this.hosts = h('p', { class: 'hosts' });
    this.body = h('div');
    this.element = h('div', {}, crumb(), h('div', { class: 'title' },
      h('h1', {}, h('span', { class: 'organization' }, `${organization}/`), name), this.hosts), this.body);
    this.#parts();
    this.#load();
  }

  #parts() {
    const app = () => this.data.apps.get(this.id);
    // Of the other numbers nobody kept a minute: they are drawn from when the page was opened.
    this.history = [];
    const chart = (name, title, colour) => new Chart(`${title}, last minute`, [{ pick: (point) => point[name], colour, area: true }], TREND);
    const card = (title, chart, ...texts) => {
      const values = texts.map(({ of, unit, title }) => ({ of, value: h(title ? 'b' : 'span'), unit, title }));
      const [figure, ...beside] = values;
      const element = h('section', { class: 'card' }, h('h2', {}, title), h('p', { class: 'figure' }, figure.value, figure.unit && h('small', {}, figure.unit)),
        h('p', { class: 'beside' }, beside.map((one) => h('span', {}, `${one.title} `, one.value))), chart.root);
      return { element, update: () => { values.forEach(({ of, value }) => say(value, of())); chart.draw(this.history); } };
    };
    const view = () => this.view;
    const limit = (number) => (number ? count(number) : 'no limit');
    this.cards = [
      card('Requests per second', chart('rate', 'Requests per second', 'accent'), { of: () => rate(app()?.rate ?? 0), unit: '/s' }, { title: 'most', of: () => rate(Math.max(0, ...(app()?.trend ?? []))) }),
      card('Errors per second', chart('failures', 'Errors per second', 'bad'), { of: () => rate(app()?.failures ?? 0), unit: '/s' }),
      card('Latency, mean', chart('mean', 'Mean latency', 'accent'), { of: () => time(app()?.mean ?? null) }, { title: 'p99', of: () => (app()?.p99 == null ? '–' : app().p99 < 0 ? '> 10 s' : `≤ ${bound(app().p99)}`) }),
      card('Requests in flight', chart('inFlight', 'Requests in flight', 'accent'), { of: () => count(view()?.in_flight ?? app()?.inFlight ?? 0) },
        { title: 'waiting', of: () => count(view()?.waiting ?? 0) }, { title: 'limit', of: () => limit(view()?.concurrency) }),
    ];
    this.endpoints = h('tbody');
    this.executions = h('tbody');
    this.facts = h('dl', { class: 'facts sheet' });
    this.onlyFailures = h('button', { type: 'button', 'aria-pressed': 'false', onclick: () => this.#toggle() }, 'Only failures');
    const head = (...titles) => h('thead', {}, h('tr', {}, titles.map(([title, kind]) => h('th', { scope: 'col', class: kind }, h('span', {}, title)))));
    this.noExecutions = h('p', { class: 'empty', hidden: true });
    this.list = h('table', { 'aria-label': 'Recent executions' },
      head(['Ended', 'name'], ['Execution', 'left'], ['Request', 'left'], ['Status', 'left'], ['Took', ''], ['Waited', 'optional'], ['Endpoint', 'left optional'], ['End', 'left']), this.executions);
    this.body.append(
      h('div', { class: 'cards' }, this.cards.map((one) => one.element)),
      section('Endpoints'), h('div', { class: 'sheet' }, h('table', { 'aria-label': 'Endpoints' }, head(['Endpoint', 'name'], ['Port', ''], ['State', 'left'], ['In flight', '']), this.endpoints)),
      section('Recent executions', h('div', { class: 'chips' }, this.onlyFailures)), h('div', { class: 'sheet' }, this.list, this.noExecutions),
      section('Limits'), this.facts);
  }

  #toggle() {
    this.failed = !this.failed;
    this.onlyFailures.setAttribute('aria-pressed', String(this.failed));
    this.#load();
  }

  async #load() {
    if (this.loading) return;
    this.loading = true;
    try {
      const [view, executions] = await Promise.all([
        get(this.path), get(`${this.path}/executions?limit=50${this.failed ? '&failed=true' : ''}`).catch((error) => ({ error }))]);
      this.view = view.content;
      this.#showView();
      this.#showExecutions(executions);
      this.update();
    } catch (error) {
      if (error.status === 404) {
        this.body.replaceChildren(h('div', { class: 'sheet' }, h('p', { class: 'empty' }, h('b', {}, 'No such app'), 'It is not, or no longer, in the configuration of this gateway.')));
        this.gone = true;
      }
    } finally {
      this.loading = false;
    }
  }

  #showView() {
    const { view } = this;
    this.hosts.replaceChildren(...view.ports.map((port) => h('span', { class: 'mono' }, port.host)));
    const rows = view.ports.flatMap((port) => port.endpoints.map((endpoint) => {
      const [colour, state] = stateOf(endpoint);
      return h('tr', {}, h('td', { class: 'name mono' }, endpoint.address), h('td', {}, String(port.port)),
        h('td', { class: 'left' }, h('span', { class: 'tag' }, h('i', { class: `dot ${colour}`, 'aria-hidden': 'true' }), state)), h('td', {}, count(endpoint.in_flight)));
    }));
    this.endpoints.replaceChildren(...(rows.length ? rows : [h('tr', {}, h('td', { colspan: '4', class: 'left' }, h('p', { class: 'empty' }, h('b', {}, 'No endpoints'), 'Requests wait until one is there, then get 503.')))]));
    const of = (number) => (number ? count(number) : 'no limit');
    const facts = [
      ['At once, the app', of(view.concurrency)], ['At once, an endpoint', of(view.endpoint_concurrency)], ['May wait', count(view.queue_limit)],
      ['Oldest wait', view.oldest_wait_seconds ? time(view.oldest_wait_seconds * 1000) : 'nobody waits'],
      ['Rate', view.rate_limit ? `${count(view.rate_limit.requests)} in ${time(view.rate_limit.per_seconds * 1000)}, burst ${count(view.rate_limit.burst)}` : 'no limit'],
      ['Speaks', [...new Set(view.ports.map((port) => port.protocol))].join(', ')],
    ];
    this.facts.replaceChildren(...facts.map(([title, text]) => h('div', {}, h('dt', {}, title), h('dd', {}, text))));
  }

  #showExecutions({ content, error }) {
    const list = content ?? [];
    this.list.hidden = list.length === 0;
    this.noExecutions.hidden = list.length > 0;
    if (list.length === 0) {
      const [title, text] = error ? ['Not kept', error.message] : this.failed ? ['No failures', 'None of the executions that are remembered failed.'] : ['No executions yet', 'Requests show here when they have ended.'];
      this.noExecutions.replaceChildren(h('b', {}, title), text);
    }
    // A row that has the focus stays.
    const focused = document.activeElement?.getAttribute?.('href');
    this.links_ = [];
    this.executions.replaceChildren(...list.map((one) => {
      const link = h('a', { href: `#/executions/${one.execution_id}`, title: one.execution_id }, `…${one.execution_id.slice(-12)}`);
      this.links_.push(link);
      return h('tr', {}, h('td', { class: 'name' }, clock(one.ended_ms)), h('td', { class: 'left mono' }, link), h('td', { class: 'left wide', title: `${one.method} ${one.path}` }, one.method, ' ', h('span', { class: 'mono' }, one.path)),
        h('td', { class: 'left' }, status(one)), h('td', {}, time(one.duration_ms)), h('td', { class: `optional ${one.queued_ms ? 'warn' : 'zero'}` }, one.queued_ms ? time(one.queued_ms) : '–'),
        h('td', { class: 'left optional mono soft' }, one.upstream ?? '–'), h('td', { class: 'left' }, end(one)));
    }));
    if (focused) this.links_.find((link) => link.getAttribute('href') === focused)?.focus({ preventScroll: true });
  }

  links() {
    return this.links_;
  }

  update() {
    if (this.gone) return;
    this.cards.forEach((card) => card.update());
  }

  second(tick) {
    const { rate: now = 0, failures = 0, mean = null, inFlight = 0, trend = [] } = this.data.apps.get(this.id) ?? {};
    if (!this.history.length) this.history = trend.slice(0, -1).map((value) => ({ rate: value }));
    this.history.push({ rate: now, failures, mean, inFlight });
    if (this.history.length > TREND) this.history.shift();
    this.update();
    if (!this.gone && tick % 2 === 0) this.#load();
  }
}

export class Execution {
  constructor(id) {
    this.element = h('div', {}, crumb(), h('div', { class: 'title' }, h('h1', {}, 'Execution'), h('p', { class: 'hosts mono' }, id)));
    this.body = h('div', { class: 'sheet' }, h('p', { class: 'empty' }, 'Looking …'));
    this.element.append(this.body);
    get(`/executions/${encodeURIComponent(id)}`).then(({ content }) => this.#show(content), (error) => {
      const title = error.status === 404 ? 'Not found' : error.status ? 'Cannot be looked up' : 'Out of reach';
      this.body.replaceChildren(h('p', { class: 'empty' }, h('b', {}, title), error.message));
    });
  }

  #show(one) {
    const fact = (title, ...value) => h('div', {}, h('dt', {}, title), h('dd', {}, ...value));
    const app = one.function_id ? h('a', { href: `#/apps/${one.function_id}` }, one.function_id) : 'no app';
    const facts = [
      fact('App', app), fact('Request', `${one.method} `, h('span', { class: 'mono' }, one.path)), fact('Status', status(one)), fact('End', end(one)),
      fact('Began', new Date(one.began_ms).toLocaleString('en-GB')), fact('Caller', h('span', { class: 'mono' }, one.client)),
      fact('Endpoint', h('span', { class: 'mono' }, one.upstream ?? 'none')), fact('Attempts', count(one.attempts)),
      fact('Protocol', `HTTP/${one.protocol}`), fact('Bytes in', bytes(one.bytes_in)), fact('Bytes out', bytes(one.bytes_out)),
    ];
    if (one.grpc_status !== null) facts.push(fact('gRPC status', String(one.grpc_status)));
    this.body.replaceChildren(h('dl', { class: 'facts' }, facts));
    this.element.append(section('Where the time went'), way(one));
  }

  links() { return []; }
  update() {}
  second() {}
}

// The time of an execution, part by part.
function way(one) {
  const total = Math.max(one.duration_ms, 1e-6);
  const queue = one.queued_ms ?? 0;
  const connect = one.connect_ms ?? 0;
  const first = one.first_byte_ms ?? total;
  const parts = [['queue', 'waiting for a turn', queue], ['connect', 'connecting', connect],
    ['wait', 'until the app began to answer', Math.max(0, first - queue - connect)], ['body', 'passing on the answer', Math.max(0, total - first)]];
  let at = 0;
  const bars = parts.map(([name, , ms]) => {
    const bar = s('rect', { class: name, x: String((at / total) * 1000), y: '0', width: String((ms / total) * 1000), height: '22' });
    at += ms;
    return bar;
  });
  const keys = parts.filter(([, , ms]) => ms > 0).map(([name, title, ms]) => h('li', {}, h('i', { class: name, 'aria-hidden': 'true' }), `${title} `, h('b', {}, time(ms))));
  return h('div', { class: 'sheet padded' }, s('svg', { class: 'way', viewBox: '0 0 1000 22', preserveAspectRatio: 'none', role: 'img', 'aria-label': `${time(total)} in all` }, bars),
    h('ul', { class: 'way-keys' }, keys));
}

function section(title, ...more) {
  return h('div', { class: 'section' }, h('h2', {}, title), ...more);
}

function crumb() {
  return h('p', { class: 'crumb' }, h('a', { href: '#/' }, 'All apps'));
}

function stateOf(endpoint) {
  if (!endpoint.ready) return ['bad', endpoint.refusing ? 'not ready, refuses connections' : 'not ready'];
  if (endpoint.ejected) return ['warn', `ejected (${endpoint.ejected.reason}), ${Math.ceil(endpoint.ejected.seconds_left)} s left`];
  if (endpoint.draining) return ['warn', 'draining'];
  return [isSound(endpoint) ? 'good' : 'warn', 'ready'];
}

function status(one) {
  const code = one.status;
  const kind = code === null || code >= 500 ? 'error' : code >= 400 ? 'client' : 'ok';
  return h('span', { class: `status ${kind}` }, code === null ? 'none' : String(code));
}

function end(one) {
  if (!one.reason) return h('span', { class: 'soft' }, one.termination);
  return h('span', { class: 'bad' }, one.reason, h('span', { class: 'soft' }, ` ${one.termination}`));
}
