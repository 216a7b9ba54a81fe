// A sandbox's life: create, look, list page by page, connect, extend, pause, resume, kill.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { e2b, options, rejects, run } from './harness.mjs'

const { Sandbox, SandboxNotFoundError } = e2b

/** Every page of a listing. */
async function walk(query, limit) {
  const pages = []
  const paginator = Sandbox.list(options({ query, limit }))
  while (paginator.hasNext) {
    pages.push(await paginator.nextItems())
    assert.ok(pages.length < 20, 'the listing has no end')
  }
  return pages
}

await run(async () => {
  const suite = randomUUID()
  const sent = { suite, purpose: 'a b&c=d/é' }
  const box = await Sandbox.create(options({ timeoutMs: 120_000, metadata: sent, envs: { GREETING: 'hello' } }))

  const info = await box.getInfo()
  assert.equal(info.sandboxId, box.sandboxId)
  assert.deepEqual(info.metadata, sent)
  assert.equal(info.state, 'running')
  assert.equal(await box.isRunning(), true)
  assert.equal((await box.commands.run('echo "$GREETING"')).stdout, 'hello\n')

  const made = [box.sandboxId]
  for (let count = 0; count < 4; count += 1) {
    made.push((await Sandbox.create(options({ timeoutMs: 120_000, metadata: { suite } }))).sandboxId)
  }
  const pages = await walk({ metadata: { suite } }, 2)
  assert.ok(pages.every((page) => page.length <= 2), `pages hold ${pages.map((page) => page.length)}`)
  assert.deepEqual(pages.flat().map((entry) => entry.sandboxId).sort(), [...made].sort())
  assert.deepEqual(pages.flat().find((entry) => entry.sandboxId === box.sandboxId).metadata, sent)
  assert.deepEqual(await walk({ metadata: { suite: "nobody's" } }, 2), [[]])

  const again = await Sandbox.connect(box.sandboxId, options({ timeoutMs: 300_000 }))
  assert.equal((await again.commands.run('echo connected')).stdout, 'connected\n')

  const before = (await box.getInfo()).endAt
  await box.setTimeout(1_200_000)
  const gained = ((await box.getInfo()).endAt - before) / 1000
  assert.ok(gained > 500, `setTimeout moved the end by ${gained} s`)

  assert.equal(await box.pause(), true)
  assert.equal((await box.getInfo()).state, 'paused')
  const paused = await walk({ metadata: { suite }, state: ['paused'] }, 10)
  assert.deepEqual(paused.flat().map((entry) => entry.sandboxId), [box.sandboxId])
  assert.equal(await box.betaPause(), false, 'a paused sandbox was paused again')
  // The object keeps the token that create gave it: connect's answer is not looked at by the instance method.
  await box.connect({ timeoutMs: 120_000 })
  assert.equal((await box.getInfo()).state, 'running')
  assert.equal((await box.commands.run('echo resumed')).stdout, 'resumed\n')

  assert.ok(Array.isArray(await Sandbox.getMetrics(box.sandboxId, options())))

  assert.equal(await box.kill(), true)
  assert.equal(await Sandbox.kill(box.sandboxId, options()), false)
  assert.equal(await box.isRunning(), false)
  await rejects(SandboxNotFoundError, box.getInfo())
  await rejects(SandboxNotFoundError, Sandbox.connect(box.sandboxId, options()))
  for (const name of made.slice(1)) {
    assert.equal(await Sandbox.kill(name, options()), true)
  }
  assert.deepEqual(await walk({ metadata: { suite } }, 2), [[]])
})
