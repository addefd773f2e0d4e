// Sends a mix of all six calls through one of Segment's SDKs for Node, as an app would, and prints what it sent as one line of JSON:
// {"ok":true,"sdk":"name@version","events":[{"id","type","userId","n","at"}]}, where `at` is the true time of the call in milliseconds.
// Ends with 1 when the SDK reported an error for any event.
//
//   node node.mjs --modules DIR --sdk NAME --host URL --write-key KEY --count N --prefix TEXT [--clock-offset-ms MS] [--warm]
//
// --clock-offset-ms puts the device's clock that far ahead (or, negative, behind). --warm sends one event and waits for it before the rest,
// so that no handshake stands between the rest's sentAt and their arrival.
import { createRequire } from 'node:module'
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'

const { values: options } = parseArgs({
  options: {
    modules: { type: 'string' },
    sdk: { type: 'string' },
    host: { type: 'string' },
    'write-key': { type: 'string' },
    count: { type: 'string' },
    prefix: { type: 'string' },
    'clock-offset-ms': { type: 'string', default: '0' },
    warm: { type: 'boolean', default: false },
  },
})

const trueNow = Date.now.bind(Date)
setClock(Number(options['clock-offset-ms']))

// The SDKs stand where scripts/test put them, not beside this file.
const load = createRequire(resolve(options.modules, 'package.json'))
const { version, name } = load(`${options.sdk}/package.json`)
const client = options.sdk === 'analytics-node' ? classic() : current()

const count = Number(options.count)
const sent = []
const first = options.warm ? 1 : 0
if (options.warm) await client.sendAll([call(0)])
await client.sendAll(Array.from({ length: count - first }, (_, n) => call(n + first)))
await client.close()
sent.sort((a, b) => a.n - b.n)
console.log(JSON.stringify({ ok: true, sdk: `${name}@${version}`, events: sent }))

// The n-th call of the mix, to be made later.
function call (n) {
  return () => {
    const who = { userId: `${options.prefix}-user-${n % 7}`, anonymousId: `${options.prefix}-anon-${n % 7}` }
    const context = { ip: '203.0.113.7', locale: 'de-CH', app: { name: options.prefix, build: String(n) } }
    const kinds = {
      identify: { ...who, traits: { email: `user${n % 7}@example.com`, plan: 'pro' } },
      track: { ...who, event: 'Order Completed', properties: { revenue: 12.5, order: n, note: 'gr\u00fcezi \u2603' } },
      page: { ...who, name: 'Pricing', properties: { url: 'https://shop.example/pricing' } },
      screen: { ...who, name: 'Cart', properties: { items: 3 } },
      group: { ...who, groupId: `${options.prefix}-group`, traits: { seats: 5 } },
      alias: { userId: who.userId, previousId: who.anonymousId },
    }
    const type = Object.keys(kinds)[n % 6]
    return { type, n, at: trueNow(), message: { ...kinds[type], context } }
  }
}

function record ({ messageId, type, userId, context }, at) {
  const n = Number(context.app.build)
  sent.push({ id: messageId, type, userId, n, at: at.get(n) })
}

// @segment/analytics-node
function current () {
  const { Analytics } = load(options.sdk)
  const analytics = new Analytics({ writeKey: options['write-key'], host: options.host, flushInterval: 200 })
  analytics.on('error', ({ code, reason, ctx }) => fail(`${code}: ${reason?.message ?? reason} ${ctx?.failedDelivery?.()?.reason ?? ''}`))
  return {
    async sendAll (calls) {
      const at = new Map()
      await Promise.all(calls.map((make) => new Promise((done) => {
        const made = make()
        at.set(made.n, made.at)
        analytics[made.type](made.message, (error, ctx) => {
          if (error) fail(error)
          record(ctx.event, at)
          done()
        })
      })))
    },
    close: () => analytics.closeAndFlush(),
  }
}

// analytics-node
function classic () {
  const Analytics = load(options.sdk)
  const analytics = new Analytics(options['write-key'], { host: options.host, flushInterval: 200, errorHandler: fail })
  return {
    async sendAll (calls) {
      const at = new Map()
      await Promise.all(calls.map((make) => new Promise((done) => {
        const made = make()
        at.set(made.n, made.at)
        analytics[made.type](made.message, (error, data) => {
          if (error) fail(error)
          // Each callback of a batch is given the whole batch.
          record(data.batch.find(({ context }) => context.app.build === String(made.n)), at)
          done()
        })
      })))
    },
    close: () => analytics.flush(),
  }
}

// Puts the clock that the SDK sees ahead; timers are not touched.
function setClock (offset) {
  if (offset === 0) return
  const RealDate = Date
  globalThis.Date = class extends RealDate {
    constructor (...parts) {
      super(...(parts.length === 0 ? [trueNow() + offset] : parts))
    }

    static now () {
      return trueNow() + offset
    }
  }
}

function fail (error) {
  console.error(error?.message ?? error)
  process.exit(1)
}
