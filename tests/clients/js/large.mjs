// 64 MiB up and down by the SDK, compared by SHA-256.

import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { e2b, options, run } from './harness.mjs'

const { Sandbox } = e2b
const SIZE = 64 * 1024 * 1024

await run(async () => {
  const box = await Sandbox.create(options({ timeoutMs: 300_000 }))
  try {
    const data = randomBytes(SIZE)
    await box.files.write('/home/user/large', new Blob([data]), { requestTimeoutMs: 60_000 })
    assert.equal((await box.files.getInfo('/home/user/large')).size, SIZE)
    const digest = createHash('sha256')
    let size = 0
    const stream = await box.files.read('/home/user/large', { format: 'stream', requestTimeoutMs: 60_000 })
    for await (const piece of stream) {
      digest.update(piece)
      size += piece.length
    }
    assert.equal(size, SIZE)
    assert.equal(digest.digest('hex'), createHash('sha256').update(data).digest('hex'))
  } finally {
    await box.kill()
  }
})
