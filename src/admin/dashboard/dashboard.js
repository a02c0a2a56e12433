// The page's frame: which view is shown, the keys, the theme, and what the stream says.

import { App, Execution } from './dashboard-app.js';
import { Data } from './dashboard-data.js';
import { say } from './dashboard-draw.js';
import { Overview } from './dashboard-overview.js';

const $ = (id) => document.getElementById(id);
const EXECUTION = /^\s*[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\s*$/i;

const data = new Data();
const search = $('search');
let view;
let tick = 0;

// ---- views ----

function route() {
  const [, kind, ...rest] = location.hash.split('/').map(decode);
  const before = view;
  if (kind === 'apps' && rest.length === 2) view = new App(data, ...rest);
  else if (kind === 'executions' && rest.length === 1) view = new Execution(rest[0]);
  else view = new Overview(data);
  document.title = kind === 'apps' ? `${rest.join('/')} · ignite-gateway` : 'ignite-gateway';
  $('main').replaceChildren(view.element);
  if (view instanceof Overview) view.search(search.value.trim());
  if (before) { window.scrollTo(0, 0); $('main').focus({ preventScroll: true }); }
}

function decode(part) {
  try { return decodeURIComponent(part); } catch { return part; }
}

function toOverview() {
  if (!(view instanceof Overview)) location.hash = '#/';
}

// ---- search ----

search.addEventListener('input', () => {
  const text = search.value.trim();
  if (EXECUTION.test(text)) return;
  toOverview();
  if (view instanceof Overview) view.search(text);
});

$('search-form').addEventListener('submit', (event) => {
  event.preventDefault();
  const text = search.value.trim();
  if (EXECUTION.test(text)) {
    search.value = '';
    location.hash = `#/executions/${text.toLowerCase()}`;
    return;
  }
  const [first] = view.links();
  if (text && first) location.hash = first.getAttribute('href');
});

// ---- keys ----

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $('help').open) return;
  const typing = event.target === search;
  if (event.key === 'Escape') {
    if (search.value) {
      search.value = '';
      search.dispatchEvent(new Event('input'));
    } else if (typing) search.blur();
    else toOverview();
  } else if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
    if (move(event.key === 'ArrowDown' ? 1 : -1, typing)) event.preventDefault();
  } else if (!typing && event.key === '/') {
    event.preventDefault();
    search.focus();
    search.select();
  } else if (!typing && event.key === '?') $('help').showModal();
  else if (!typing && event.key === 't') toggleTheme();
});

// From row to row; up from the first leads back to the search.
function move(by, typing) {
  const links = view.links();
  const at = links.indexOf(document.activeElement);
  if (at < 0 && !typing && document.activeElement?.closest?.('button, a, dialog')) return false;
  const next = at < 0 ? (by > 0 ? 0 : -1) : at + by;
  if (next < 0) search.focus();
  else links[next]?.focus();
  return links.length > 0;
}

$('help-open').addEventListener('click', () => $('help').showModal());

// ---- theme ----

const dark = matchMedia('(prefers-color-scheme: dark)');

function stored() {
  try { return localStorage.getItem('theme'); } catch { return null; }
}

function showTheme() {
  const theme = stored() ?? (dark.matches ? 'dark' : 'light');
  document.documentElement.dataset.theme = theme;
  $('theme').setAttribute('aria-pressed', String(theme === 'dark'));
}

function toggleTheme() {
  const theme = document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark';
  // Whoever chooses what the system has follows the system again.
  try {
    if (theme === (dark.matches ? 'dark' : 'light')) localStorage.removeItem('theme');
    else localStorage.setItem('theme', theme);
  } catch { /* Without storage the choice lasts as long as the page. */ }
  document.documentElement.dataset.theme = theme;
  $('theme').setAttribute('aria-pressed', String(theme === 'dark'));
}

dark.addEventListener('change', showTheme);
$('theme').addEventListener('click', toggleTheme);
showTheme();

// ---- what the stream says ----

const PHASES = {
  connecting: ['', 'Connecting'], serving: ['live', 'Live'], starting: ['draining', 'Starting'],
  draining: ['draining', 'Draining'], lost: ['lost', 'Reconnecting'],
};

function showState() {
  const [is, text] = PHASES[data.phase] ?? PHASES.connecting;
  $('state').dataset.is = is;
  say($('state').lastElementChild, text);
  document.body.classList.toggle('stale', data.phase === 'lost');
  showBanner();
  if (data.version) say($('version'), `ignite-gateway ${data.version}`);
}

function showBanner() {
  const lost = data.phase === 'lost';
  const draining = data.phase === 'draining' && 'The gateway drains: it finishes what it has, and load balancers send new calls elsewhere.';
  const problem = data.problem && `The last reload failed; the configuration before it stays in force.\n${data.problem}`;
  const text = lost ? 'The gateway does not answer. What you see is as it was; the page tries again by itself.' : draining || problem || '';
  $('banner').hidden = !text;
  $('banner').classList.toggle('calm', Boolean(!lost && draining));
  if (text) say($('banner'), text);
}

data.addEventListener('state', () => { showState(); view.update(); });
data.addEventListener('apps', () => view.update());
data.addEventListener('second', () => {
  tick += 1;
  showBanner();
  if (document.hidden) return;
  if (view.second) view.second(tick);
  else view.update();
});
document.addEventListener('visibilitychange', () => { if (!document.hidden) view.update(); });
addEventListener('hashchange', route);
route();
showState();
data.start();
