// node pages.mjs LEDGERLINE FOLDER: looks at the pages of `ledgerline demo` in a real Chromium, by their own means: mouse, keyboard, the
// tree that screen readers get. Exits 1 and says what is wrong. FOLDER is for the demo's data, npm's packages and the pictures.
import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';

const [binary, folder] = process.argv.slice(2);
const { chromium } = createRequire(join(folder, 'package.json'))('playwright-core');
const wrong = [];
const check = (ok, what) => { if (!ok) { wrong.push(what); console.log('WRONG', what); } };

// The demo, until it has told its addresses and keys.
const demo = spawn(binary, ['demo', '--data', join(folder, 'data'), '--listen', '127.0.0.1:0', '--api-listen', '127.0.0.1:0'], { stdio: ['ignore', 'pipe', 'pipe'] });
process.on('exit', () => demo.kill('SIGKILL')); // also when this ends by a mistake
const ended = new Promise(resolve => demo.on('exit', resolve));
let told = '';
await new Promise((resolve, reject) => {
  demo.stdout.on('data', text => { told += text; if (told.includes('Ctrl-C ends it')) resolve(); });
  demo.stderr.on('data', text => { told += text; });
  demo.on('exit', code => reject(new Error(`the demo ended with ${code}:\n${told}`)));
  setTimeout(() => reject(new Error(`the demo is not ready after five minutes:\n${told}`)), 300_000).unref();
});
const base = told.match(/^ +(?:API|pages) +(http:\S+)/m)[1];
const key = scope => told.match(new RegExp(`^ +${scope} +(lk_\\S+)`, 'm'))[1];
const call = told.match(/429.* ([0-9a-f-]{36})$/m)[1];

const pictures = join(folder, 'pictures');
mkdirSync(pictures, { recursive: true });
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu'] });

const roles = ['link', 'button', 'textbox', 'combobox', 'searchbox', 'checkbox', 'Date', 'menuitem', 'region', 'navigation', 'table'];

// whole: what holds for each page, whoever looks at it and how.
async function whole(page, name, width) {
  const over = await page.evaluate(() => document.documentElement.scrollWidth);
  check(over <= width, `${name}: ${over} px wide at ${width}`);
  const devtools = await page.context().newCDPSession(page);
  const { nodes } = await devtools.send('Accessibility.getFullAXTree');
  for (const n of nodes) {
    if (n.ignored || !roles.includes(n.role?.value) || n.name?.value?.trim()) continue;
    const { node } = await devtools.send('DOM.describeNode', { backendNodeId: n.backendDOMNodeId }).catch(() => ({}));
    check(false, `${name}: a ${n.role.value} without a name: <${node?.localName} ${node?.attributes}>`);
  }
  check(nodes.some(n => n.role?.value === 'heading') && nodes.some(n => n.role?.value === 'main'), `${name}: no heading or no main part`);
  await devtools.detach();
}

// tabs: with the Tab key alone one comes to each control, in the order in which they stand, and sees where one is.
async function tabs(page, name) {
  await page.evaluate(() => { document.activeElement?.blur(); window.scrollTo(0, 0); });
  const all = await page.evaluate(() => {
    const list = [...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, [tabindex="0"]')];
    list.forEach((e, i) => e.setAttribute('data-order', i));
    return list.length;
  });
  const seen = [];
  for (let presses = 0; presses < all * 6; presses++) { // a date has several fields
    await page.keyboard.press('Tab');
    const at = await page.evaluate(() => {
      const e = document.activeElement, box = e.getBoundingClientRect(), style = getComputedStyle(e);
      return { order: e.getAttribute('data-order'), what: e.outerHTML.slice(0, 90), seen: box.width > 0 && box.right > 0 && box.bottom > 0 && box.top < innerHeight, outline: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0 };
    });
    if (at.order === null) break; // through, back at the window
    if (seen.at(-1) === +at.order) continue;
    seen.push(+at.order);
    check(at.seen && at.outline, `${name}: no focus is seen on ${at.what}`);
    if (seen.length === all) break;
  }
  check(seen.length === all && seen.every((n, i) => n === i), `${name}: Tab goes ${seen} of ${all}`);
}

async function login(page, scope, to) {
  await page.goto(base + to);
  check(page.url().startsWith(base + '/login?next='), `${to} without a login leads to ${page.url()}`);
  await page.getByLabel('API key').fill(key(scope));
  await page.keyboard.press('Enter');
  await page.waitForURL(base + to);
}

const views = {
  showback: '/showback',
  grouped: '/showback?from=2026-01-01&to=2027-01-01&tz=Europe%2FZurich&group_by=team%2Cmonth',
  users: '/showback?group_by=user%2Cuse_case&team=cards',
  empty: '/showback?from=2020-01-01&to=2020-02-01',
  requests: '/requests?team=cards',
  request: '/requests/' + call,
};
for (const colorScheme of ['light', 'dark']) {
  for (const width of [1280, 400]) {
    const context = await browser.newContext({ viewport: { width, height: 800 }, colorScheme });
    const page = await context.newPage();
    page.on('console', m => { if (['error', 'warning'].includes(m.type())) check(false, `${page.url()}: console: ${m.text()}`); });
    page.on('pageerror', e => check(false, `${page.url()}: ${e.message}`));
    page.on('requestfailed', r => {
      const why = r.failure()?.errorText;
      if (r.url().includes('/assets/icon.svg') && why === 'net::ERR_ABORTED') return; // the next page came first
      check(false, `${r.url()}: ${why}`);
    });
    page.on('request', r => check(r.url().startsWith(base + '/'), `${page.url()} asks for ${r.url()}`));
    page.on('response', r => check(r.status() < 400, `${r.url()}: ${r.status()}`));
    await page.goto(base + '/login');
    await whole(page, `login ${width} ${colorScheme}`, width);
    await page.screenshot({ path: join(pictures, `login-${width}-${colorScheme}.png`), fullPage: true });
    await login(page, 'admin', '/showback');
    for (const [name, path] of Object.entries(views)) {
      await page.goto(base + path);
      await whole(page, `${name} ${width} ${colorScheme}`, width);
      await page.screenshot({ path: join(pictures, `${name}-${width}-${colorScheme}.png`), fullPage: true });
      if (colorScheme === 'light' && name !== 'users' && name !== 'requests') await tabs(page, `${name} ${width}`);
    }
    await context.close();
  }
}

// By keyboard from the figures to a single call, and out.
const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
const page = await context.newPage();
await page.goto(base + '/login');
await page.getByLabel('API key').fill('lk_nobody_xxxxxxxx');
await page.keyboard.press('Enter');
check((await page.getByRole('alert').innerText()).includes('No such key'), 'a wrong key is not told');
await login(page, 'admin', '/showback');
await page.keyboard.press('Tab');
await page.keyboard.press('Enter');
check(await page.evaluate(() => document.activeElement.id) === 'main', 'the first link does not skip to the content');
await page.getByLabel('Group by').selectOption('use_case');
await page.getByLabel('is', { exact: true }).fill('cards');
await page.getByLabel('Only where').selectOption('team');
await page.getByRole('button', { name: 'Show' }).press('Enter');
await page.waitForURL(/\/showback\?.*group_by=use_case.*team=cards/);
const count = page.locator('tbody tr').first().locator('td[data-of=requests] a');
await count.press('Enter');
await page.waitForURL(/\/requests\?.*use_case=/);
await page.locator('tbody a').first().press('Enter');
await page.waitForURL(/\/requests\/[0-9a-f-]{36}$/);
check(await page.getByRole('heading', { name: 'Why this route' }).isVisible(), 'a call does not say why it went where it went');

// A link from another site, as from an alert, finds the session, though its cookie is kept back at first.
const elsewhere = createServer((_, answer) => answer.end(`<a href="${base}/requests/${call}">the call</a>`));
await new Promise(resolve => elsewhere.listen(0, 'localhost', resolve));
const other = `http://localhost:${elsewhere.address().port}/`;
await page.goto(other);
await page.getByRole('link').click();
await page.waitForURL(base + '/requests/' + call);
await page.getByRole('heading', { name: 'Why this route' }).waitFor();
await page.getByRole('button', { name: 'Log out' }).press('Enter');
await page.waitForURL(base + '/login');
await page.goto(other);
await page.getByRole('link').click();
await page.waitForURL(/\/login\?next=/);
elsewhere.close();

await browser.close();
demo.kill('SIGINT');
await ended;
console.log(wrong.length ? `${wrong.length} things are wrong` : `ok: ${Object.keys(views).length + 1} pages at two widths, light and dark`);
process.exit(wrong.length ? 1 : 0);
