// What every JavaScript script here shares: which SDK, where to connect, how to fail, how to fetch a plain URL.
//
// SDK=new or SDK=old picks the folder whose packages are used. The rest comes from the environment too:
//
//   E2B_API_KEY                     a key that may create and operate sandboxes
//   READ_KEY, WRONG_KEY             a key with scope read; one that nobody issued (`e2b_` and hex digits: SDKs up to
//                                   2.45 refuse any other form before they send it)
//   E2B_API_URL, E2B_SANDBOX_URL    plain addresses of the control and the data plane (read by the SDK itself), or else
//   E2B_DOMAIN, PROXY_URL,          the domain mode. The SDK insists on https://api.DOMAIN and https://PORT-ID.DOMAIN,
//   NODE_EXTRA_CA_CERTS             and nothing resolves those names, so every request goes through PROXY_URL, a
//                                   CONNECT proxy that knows one TLS server, whose authority Node is told to trust.
//
// Both generations take the proxy as `proxy` in the options of create, connect and list, and the sandbox object keeps
// it for the control plane, envd's RPC and file transfers. The code interpreter does not: runCode and the context calls
// of both generations use the global `fetch`, which knows no proxy in Node 20. So in the domain mode the global is
// replaced by undici's own, with the same proxy; undici is what the SDK itself brings along.

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { basename } from 'node:path'

/** How long a whole script may take before it is cut off. */
const DEADLINE_MS = 90_000

export function need(name) {
  const value = process.env[name]
  if (!value) {
    console.error(`${name} is not set`)
    process.exit(1)
  }
  return value
}

export const GENERATION = need('SDK')
assert.ok(['new', 'old'].includes(GENERATION), `SDK is ${GENERATION}, not new or old`)
const require = createRequire(new URL(`./${GENERATION}/package.json`, import.meta.url))

export const e2b = require('e2b')
export const interpreter = require('@e2b/code-interpreter')
const { version: VERSION } = require('e2b/package.json')

const proxy = process.env.PROXY_URL
let plainFetch = globalThis.fetch
if (proxy) {
  const undici = require('undici')
  const dispatcher = new undici.ProxyAgent({ uri: proxy, proxyTunnel: true })
  plainFetch = (input, init) => undici.fetch(input, { ...init, dispatcher })
  globalThis.fetch = plainFetch
}

/** What every call that opens a connection is given. */
export function options(more = {}) {
  need('E2B_API_KEY')
  if (!process.env.E2B_DOMAIN) {
    need('E2B_API_URL')
    need('E2B_SANDBOX_URL')
  }
  return { requestTimeoutMs: 30_000, ...(proxy ? { proxy } : {}), ...more }
}

/** Runs the script's main, prints `ok: …` or what went wrong, and sets the exit code. */
export async function run(main) {
  const name = `${basename(process.argv[1], '.mjs')}, JavaScript, e2b ${VERSION}`
  const started = performance.now()
  const fail = (error) => {
    console.error(error)
    console.error(`FAILED: ${name}`)
    process.exit(1)
  }
  setTimeout(() => fail(new Error(`not done after ${DEADLINE_MS} ms`)), DEADLINE_MS).unref()
  // A stream that fails while nobody awaits it is a failure too.
  process.on('unhandledRejection', fail)
  try {
    await main()
  } catch (error) {
    fail(error)
  }
  console.log(`ok: ${name}, ${((performance.now() - started) / 1000).toFixed(1)} s`)
  process.exit(0)
}

/** Awaits, and asserts that it is rejected with a `kind` whose message holds `containing`. */
export async function rejects(kind, promise, containing = '') {
  let value
  try {
    value = await promise
  } catch (error) {
    assert.ok(error instanceof kind, `expected ${kind.name}, got ${error.stack}`)
    assert.ok(error.message.includes(containing), `"${error.message}" does not say "${containing}"`)
    return error
  }
  assert.fail(`expected ${kind.name}, got ${JSON.stringify(value)}`)
}

/** Notes when each piece of output came, to tell a stream from a buffer that was emptied at the end. */
export class Clock {
  seen = []

  note = (text) => {
    this.seen.push([performance.now(), String(text)])
  }

  /** Seconds between the first output that holds `first` and the first that holds `second`. */
  gap(first, second) {
    return (this.#when(second) - this.#when(first)) / 1000
  }

  #when(word) {
    const found = this.seen.find(([, text]) => text.includes(word))
    assert.ok(found, `no output holds "${word}": ${JSON.stringify(this.seen)}`)
    return found[0]
  }
}

/** A promise that a callback settles, given up after `seconds`. */
export function signal(what, seconds = 15) {
  let settle
  const promise = new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${what} did not happen in ${seconds} s`)), seconds * 1000)
    settle = (value) => {
      clearTimeout(timer)
      resolve(value)
    }
  })
  return { promise, settle }
}

/** A plain HTTP request that knows nothing of E2B: [status, body]. */
export async function fetchPlain(url, init = {}) {
  const answer = await plainFetch(url, { signal: AbortSignal.timeout(30_000), ...init })
  return [answer.status, await answer.text()]
}

/** One file as a browser's form would send it. undici's own fetch wants undici's own FormData, so it is spelt out. */
export function multipart(text, filename) {
  const boundary = '----form-boundary-7d93b0'
  const body =
    `--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="${filename}"\r\n\r\n` +
    `${text}\r\n--${boundary}--\r\n`
  return { method: 'POST', body, headers: { 'Content-Type': `multipart/form-data; boundary=${boundary}` } }
}

/** A token that was guessed: right in form, off by a few characters. */
export function forged(token) {
  return token.slice(0, -4) + (token.endsWith('0000') ? '1111' : '0000')
}

/** `victim`'s sandbox as someone would open it who holds only `token`: the public constructor. */
export function withToken(Sandbox, victim, token) {
  assert.ok(token && token !== victim.envdAccessToken, "this is the sandbox's own token")
  return new Sandbox({
    sandboxId: victim.sandboxId,
    sandboxDomain: victim.sandboxDomain,
    envdVersion: victim.envdApi.version,
    envdAccessToken: token,
    trafficAccessToken: token,
    ...options(),
  })
}
