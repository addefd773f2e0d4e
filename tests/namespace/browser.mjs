// A person in Chromium: opens a shop's page, which loads Segment's SDK by its snippet, does a few things there, and leaves. Prints what was
// sent, as one line of JSON: {"ids", "kinds", "preflighted", "complaints"}.
//
//   node browser.mjs --modules DIR --write-key KEY --label TEXT
//   node browser.mjs --modules DIR --open URL        prints the status of that page alone, or why there is none
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'

const { values: options } = parseArgs({
  options: { modules: { type: 'string' }, 'write-key': { type: 'string' }, label: { type: 'string' }, open: { type: 'string' } },
})
const load = createRequire(resolve(options.modules, 'package.json'))
const { chromium } = load('playwright-core')
const snippet = load('@segment/snippet')

// What the page does once its snippet stands: one identify and three tracks; the snippet itself sends the page.
const SENT = 5
const BATCHING = { integrations: { 'Segment.io': { deliveryStrategy: { strategy: 'batching', config: { size: 100, timeout: 1000 } } } } }
const shop = createServer((request, response) => {
  const batching = request.url.includes('batching')
  const script = snippet.max({ apiKey: options['write-key'], page: true, load: batching ? BATCHING : true })
  const does = `window.everything = Promise.all([
    analytics.identify('person-1', { plan: 'pro' }),
    ...[1, 2, 3].map((n) => analytics.track('Looked at a thing', { n })),
  ]).then(() => true)`
  response.setHeader('content-type', 'text/html')
  response.end(`<!doctype html><title>Shop</title><link rel="icon" href="data:,"><script>${script}</script><script>${does}</script>`)
})
await new Promise((done) => shop.listen(0, '127.0.0.1', done))
const address = `http://127.0.0.1:${shop.address().port}`

const profile = mkdtempSync(join(tmpdir(), 'profile-'))
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: '/usr/bin/chromium',
  headless: true,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
})
// In a namespace with loopback alone a browser believes that it is offline, and the SDK keeps everything to itself.
await browser.addInitScript(() => Object.defineProperty(navigator, 'onLine', { get: () => true }))
const page = browser.pages()[0]
if (options.open) {
  const seen = await page.goto(options.open).then((answer) => answer.status(), (error) => String(error).match(/net::\w+/)?.[0] ?? error)
  console.log(String(seen))
  await browser.close()
  process.exit(0)
}

const ids = new Set()
const kinds = new Set()
const complaints = []
// Posts that no browser sends before a preflight was answered.
let preflighted = 0
const isSegments = (url) => /(^|\.)segment\.(io|com)$/.test(new URL(url).hostname)
const isApi = (url) => new URL(url).hostname === 'api.segment.io'
page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()))
page.on('pageerror', (error) => complaints.push(String(error)))
page.on('requestfailed', (request) => isSegments(request.url()) && complaints.push(`${request.url()}: ${request.failure()?.errorText}`))
page.on('response', (response) => {
  const request = response.request()
  if (!isSegments(response.url())) return
  if (response.status() !== 200) complaints.push(`${response.url()}: ${response.status()}`)
  if (!isApi(response.url()) || request.method() !== 'POST' || response.url().endsWith('/v1/m')) return
  if ('authorization' in request.headers()) preflighted += 1
  const body = JSON.parse(request.postData())
  for (const event of body.batch ?? [body]) {
    ids.add(event.messageId)
    kinds.add(event.type)
  }
})
const until = async (isSo, seconds) => {
  for (let tries = 0; tries < seconds * 20 && !isSo(); tries += 1) await page.waitForTimeout(50)
}
let expected = 0
for (const strategy of ['standard', 'batching']) {
  await page.goto(`${address}/?${strategy}`)
  expected += SENT
  await until(() => ids.size >= expected || complaints.length > 0, 15)
  if (ids.size < expected) break
  if (strategy === 'batching') {
    // Left while an event waits for its batch.
    await page.evaluate((label) => { window.analytics.track(`Left ${label}`) }, options.label)
    await page.goto('about:blank')
    await page.waitForTimeout(500)
  }
}
console.log(JSON.stringify({ ids: [...ids], kinds: [...kinds], preflighted, complaints }))
await browser.close()
shop.close()
rmSync(profile, { recursive: true, force: true })
