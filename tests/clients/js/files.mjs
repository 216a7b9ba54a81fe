// Files: write, read, list, rename, remove, directories, watching, several at once, bytes both ways.

import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { e2b, options, rejects, run, signal } from './harness.mjs'

const { Sandbox, NotFoundError } = e2b
const HOME = '/home/user/files'
const sha256 = (data) => createHash('sha256').update(data).digest('hex')

/** The SDK holds a stream open, and events come while it is. */
async function watch(box) {
  await box.files.makeDir(`${HOME}/watched`)
  const seen = signal('an event for new.txt', 10)
  const watcher = await box.files.watchDir(`${HOME}/watched`, (event) => {
    if (event.name === 'new.txt') seen.settle()
  })
  await box.files.write(`${HOME}/watched/new.txt`, 'x')
  await seen.promise
  await watcher.stop()
}

/** 5 MB there and back, whole and in pieces. */
async function blob(box) {
  const data = randomBytes(5_000_000)
  await box.files.write(`${HOME}/blob`, new Blob([data]))
  assert.equal((await box.files.getInfo(`${HOME}/blob`)).size, data.length)
  const back = await box.files.read(`${HOME}/blob`, { format: 'bytes' })
  assert.equal(sha256(back), sha256(data), `${back.length} other bytes came back`)
  const digest = createHash('sha256')
  let count = 0
  for await (const piece of await box.files.read(`${HOME}/blob`, { format: 'stream' })) {
    digest.update(piece)
    count += 1
  }
  assert.equal(digest.digest('hex'), sha256(data))
  assert.ok(count > 1, 'the stream came in one piece')
}

await run(async () => {
  const box = await Sandbox.create(options({ timeoutMs: 120_000 }))
  try {
    assert.equal(await box.files.makeDir(HOME), true)
    assert.equal(await box.files.makeDir(HOME), false)

    const name = `${HOME}/a b+c&d=é.txt`
    const written = await box.files.write(name, 'text é\n')
    assert.equal(written.path, name)
    assert.equal(await box.files.read(name), 'text é\n')
    assert.equal(await box.files.exists(name), true)
    assert.equal(await box.files.exists(`${HOME}/absent`), false)
    const info = await box.files.getInfo(name)
    assert.deepEqual([info.name, info.size, info.type], ['a b+c&d=é.txt', 8, 'file'])
    assert.equal(await box.files.read(name, { user: 'root' }), 'text é\n')

    const several = await box.files.write([
      { path: `${HOME}/one`, data: '1' },
      { path: `${HOME}/two`, data: '22' },
    ])
    assert.deepEqual(several.map((entry) => entry.path).sort(), [`${HOME}/one`, `${HOME}/two`])
    assert.equal(await box.files.read(`${HOME}/two`), '22')
    const entries = (await box.files.list(HOME)).map((entry) => `${entry.type} ${entry.name}`).sort()
    assert.deepEqual(entries, ['file a b+c&d=é.txt', 'file one', 'file two'])

    const moved = await box.files.rename(`${HOME}/one`, `${HOME}/three`)
    assert.equal(moved.path, `${HOME}/three`)
    assert.equal(await box.files.exists(`${HOME}/one`), false)
    await box.files.remove(`${HOME}/three`)
    assert.equal(await box.files.exists(`${HOME}/three`), false)
    await rejects(NotFoundError, box.files.read(`${HOME}/three`))
    await rejects(NotFoundError, box.files.list(`${HOME}/absent`))

    await watch(box)
    await blob(box)
  } finally {
    await box.kill()
  }
})
