// What both scripts for the command line client share. CLI=newest, 2.10.3 or 2.4.2 picks the folder whose package runs.
//
//   E2B_API_URL, E2B_SANDBOX_URL    plain addresses of the control and the data plane
//   ADMIN_KEY, EXEC_KEY, READ_KEY   keys of one tenant by scope
//   WRONG_KEY                       a key that nobody issued; like the others of the form `e2b_` and hex digits, which
//                                   2.10.3 checks before it sends anything
//
// The client runs with a HOME of its own, so that no stored login takes part, and with no other variables.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** How long one invocation may take, and how long a whole script. */
const INVOCATION_MS = 30_000
const DEADLINE_MS = 120_000

export function need(name) {
  const value = process.env[name]
  if (!value) {
    console.error(`${name} is not set`)
    process.exit(1)
  }
  return value
}

export const VERSION = need('CLI')
const program = fileURLToPath(new URL(`./${VERSION}/node_modules/@e2b/cli/dist/index.js`, import.meta.url))
const api = need('E2B_API_URL')
let home

/** Runs the client: {code, text}, where `text` is all that it printed, free of colours. */
export function cli({ key, token }, ...words) {
  const env = {
    PATH: process.env.PATH,
    HOME: home,
    TZ: 'UTC',
    E2B_API_URL: api,
    E2B_SANDBOX_URL: need('E2B_SANDBOX_URL'),
    ...(key ? { E2B_API_KEY: key } : {}),
    ...(token ? { E2B_ACCESS_TOKEN: token } : {}),
  }
  return new Promise((resolve) => {
    const options = { cwd: home, env, timeout: INVOCATION_MS, killSignal: 'SIGKILL' }
    const child = execFile(process.execPath, [program, ...words], options, (error, stdout, stderr) => {
      const code = error ? (error.code ?? error.signal) : 0
      resolve({ code, text: `${stdout}\n${stderr}`.replace(/\x1b\[[0-9;]*m/g, '') })
    })
    child.stdin.end()
  })
}

/** Asserts how an invocation ended and what it said. */
export function ended(what, result, code, pattern) {
  assert.equal(result.code, code, `${what}: exit ${result.code}\n${result.text}`)
  assert.match(result.text, pattern, what)
}

/** A request of the script's own, as admin, to prepare and to look at what the client did. */
export async function admin(method, path, body) {
  const answer = await fetch(api + path, {
    method,
    headers: { 'X-API-Key': need('ADMIN_KEY'), ...(body ? { 'Content-Type': 'application/json' } : {}) },
    body: body && JSON.stringify(body),
    signal: AbortSignal.timeout(INVOCATION_MS),
  })
  const text = await answer.text()
  assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${text}`)
  return text ? JSON.parse(text) : undefined
}

/** Runs the script's main, prints `ok: …` or what went wrong, and sets the exit code. */
export async function run(name, main) {
  const started = performance.now()
  const fail = async (error) => {
    console.error(error)
    console.error(`FAILED: ${name}, @e2b/cli ${VERSION}`)
    await rm(home, { recursive: true, force: true })
    process.exit(1)
  }
  home = await mkdtemp(join(tmpdir(), 'e2b-cli-'))
  setTimeout(() => fail(new Error(`not done after ${DEADLINE_MS} ms`)), DEADLINE_MS).unref()
  try {
    await writeFile(join(home, 'e2b.Dockerfile'), 'FROM ubuntu:22.04\nRUN echo built\n')
    await main()
  } catch (error) {
    await fail(error)
  }
  await rm(home, { recursive: true, force: true })
  console.log(`ok: ${name}, @e2b/cli ${VERSION}, ${((performance.now() - started) / 1000).toFixed(1)} s`)
}
