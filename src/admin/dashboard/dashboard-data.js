// What the page knows: the stream of seconds, and the apps. Nothing here touches the document.

export const SECONDS = 300;
const TREND = 60;
// More rows than this are looked for at the gateway instead of being kept here.
const MOST = 20000;
const PAGE = 1000;
// A stream that says nothing for so long is broken, whatever the browser thinks.
const SILENCE = 5000;

// One number of each second; the order in which the gateway sends them.
export const POINT = ['at', 'rate', 'failures', 'refusals', 'p50', 'p95', 'p99', 'inFlight', 'waiting', 'connections'];

const key = (organization, name) => organization + '/' + name;

export class Data extends EventTarget {
  points = [];
  apps = new Map();
  total = 0;
  phase = 'connecting';
  version = '';
  problem = '';
  partial = false;
  #source;
  #heard = 0;
  #watch;
  #busy = new Set();

  start() {
    this.#open();
    this.#watch = setInterval(() => {
      if (this.#source && performance.now() - this.#heard > SILENCE) this.#lose();
    }, 1000);
  }

  #open() {
    this.#source?.close();
    this.#heard = performance.now();
    const source = this.#source = new EventSource('/events');
    source.addEventListener('hello', (event) => this.#hello(JSON.parse(event.data)));
    source.addEventListener('second', (event) => this.#second(JSON.parse(event.data)));
    source.onerror = () => this.#lose();
  }

  #lose() {
    this.#source?.close();
    this.#source = undefined;
    if (this.phase !== 'lost') {
      this.phase = 'lost';
      this.dispatchEvent(new Event('state'));
    }
    setTimeout(() => this.#source ?? this.#open(), 1500);
  }

  #hello(hello) {
    this.#heard = performance.now();
    this.version = hello.version;
    this.points = hello.history.map(point);
    for (const app of this.apps.values()) Object.assign(app, IDLE);
    this.#busy.clear();
    this.#take(hello);
    this.#load();
  }

  #second(second) {
    this.#heard = performance.now();
    this.points.push(point(second.point));
    if (this.points.length > SECONDS) this.points.splice(0, this.points.length - SECONDS);
    this.#take(second);
    for (const app of this.#busy) {
      app.trend.push(app.rate);
      if (app.trend.length > TREND) app.trend.shift();
      if (app.trend.every((rate) => rate === 0)) { app.trend = []; this.#busy.delete(app); }
    }
    this.dispatchEvent(new Event('second'));
  }

  #take(message) {
    this.total = message.apps;
    this.problem = message.problem ?? '';
    for (const row of message.rows) {
      const [organization, name, rate, failures, mean, p99, inFlight, waiting, ready, endpoints] = row;
      const app = this.#app(organization, name);
      Object.assign(app, { rate, failures, mean, p99, inFlight, waiting, ready, endpoints, known: true });
      if (rate > 0) this.#busy.add(app);
    }
    if (this.phase !== message.phase) {
      this.phase = message.phase;
      this.dispatchEvent(new Event('state'));
    }
  }

  #app(organization, name) {
    const id = key(organization, name);
    let app = this.apps.get(id);
    if (!app) {
      app = { id, organization, name, hosts: '', ready: 0, endpoints: 0, trend: [], known: false, ...IDLE };
      this.apps.set(id, app);
    }
    return app;
  }

  // The apps that are silent are not in the stream: their names come in pages.
  async #load() {
    const seen = new Set();
    let next = `/apps?limit=${PAGE}`;
    while (next && seen.size < MOST) {
      const answer = await get(next).catch(() => undefined);
      if (!answer) return;
      for (const view of answer.content) seen.add(this.#view(view).id);
      next = answer.next;
      this.dispatchEvent(new Event('apps'));
    }
    this.partial = Boolean(next);
    if (!next) for (const id of this.apps.keys()) if (!seen.has(id)) this.apps.delete(id);
    this.dispatchEvent(new Event('apps'));
  }

  #view(view) {
    const app = this.#app(view.organization, view.name);
    app.hosts = view.ports.map((port) => port.host).join(' ');
    const endpoints = view.ports.flatMap((port) => port.endpoints);
    app.ready = endpoints.filter(isSound).length;
    app.endpoints = endpoints.length;
    app.inFlight = view.in_flight;
    app.waiting = view.waiting;
    return app;
  }

  // Those that are not kept here: found by the gateway.
  async find(text) {
    const answer = await get('/apps?limit=100&search=' + encodeURIComponent(text)).catch(() => undefined);
    for (const view of answer?.content ?? []) this.#view(view);
    if (answer) this.dispatchEvent(new Event('apps'));
  }
}

const IDLE = { rate: 0, failures: 0, mean: null, p99: null, inFlight: 0, waiting: 0 };

function point(values) {
  return Object.fromEntries(POINT.map((name, at) => [name, values[at]]));
}

export const isSound = (endpoint) => endpoint.ready && !endpoint.ejected && !endpoint.draining;

// Whether somebody should look: requests fail or wait, or endpoints are missing.
export function isInTrouble(app) {
  return app.failures > 0 || app.waiting > 0 || app.ready < app.endpoints || app.endpoints === 0;
}

export async function get(path) {
  const answer = await fetch(path, { headers: { accept: 'application/json' } });
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({}));
    throw Object.assign(new Error(problem.detail ?? `the gateway answered ${answer.status}`), { status: answer.status });
  }
  const next = /^<([^>]+)>; rel="next"/.exec(answer.headers.get('link') ?? '');
  return { content: await answer.json(), next: next?.[1] };
}
