// A long list, page by page: exactly the sandboxes that EXPECTED names, each once, and nothing of anybody else.

import assert from 'node:assert/strict'
import { e2b, need, options, run } from './harness.mjs'

const { Sandbox } = e2b

async function walk(query, limit) {
  const listed = []
  const paginator = Sandbox.list(options({ query, limit }))
  for (let pages = 0; paginator.hasNext; pages += 1) {
    assert.ok(pages < 1000, 'the listing has no end')
    listed.push(...(await paginator.nextItems()))
  }
  return listed
}

await run(async () => {
  const expected = need('EXPECTED').split(',').sort()
  for (const query of [undefined, { state: ['running'] }]) {
    const listed = await walk(query, 100)
    assert.deepEqual(listed.map((entry) => entry.sandboxId).sort(), expected)
    assert.ok(listed.every((entry) => entry.metadata.of === 'team-a' && Object.keys(entry.metadata).length === 1))
  }
})
