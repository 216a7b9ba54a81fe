// CALLS creates at once where LIMIT sandboxes are allowed: the rest raise the class that STATUS (403 or 429) stands for.

import assert from 'node:assert/strict'
import { e2b, need, options, run } from './harness.mjs'

const { RateLimitError, Sandbox, SandboxError } = e2b

await run(async () => {
  const [calls, limit, status] = ['CALLS', 'LIMIT', 'STATUS'].map((name) => Number(need(name)))
  const creates = Array.from({ length: calls }, () => Sandbox.create({ timeoutMs: 120_000, ...options() }))
  const results = await Promise.allSettled(creates)
  const boxes = results.filter((result) => result.status === 'fulfilled').map((result) => result.value)
  const errors = results.filter((result) => result.status === 'rejected').map((result) => result.reason)
  assert.equal(boxes.length, limit, `${boxes.length} were admitted: ${errors}`)
  for (const error of errors) {
    assert.ok(error instanceof (status === 429 ? RateLimitError : SandboxError), error.stack)
    assert.equal(error instanceof RateLimitError, status === 429, error.stack)
    assert.ok(error.message.includes(`has reached its limit of ${limit} active sandboxes`), error.message)
    assert.ok(status === 429 || error.message.includes('403'), error.message)
  }
  for (const box of boxes) {
    assert.ok(await box.kill())
  }
})
