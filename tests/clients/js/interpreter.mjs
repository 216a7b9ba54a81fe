// The code interpreter: streamed output, results, errors, contexts.

import assert from 'node:assert/strict'
import { Clock, interpreter, options, rejects, run } from './harness.mjs'

const { Sandbox, NotFoundError } = interpreter
const SLEEP = 0.8

await run(async () => {
  const box = await Sandbox.create(options({ timeoutMs: 120_000 }))
  try {
    const clock = new Clock()
    const done = await box.runCode(
      `import time\nprint('first')\ntime.sleep(${SLEEP})\nprint('second')\n1 + 2`,
      { onStdout: (message) => clock.note(message.line) },
    )
    assert.equal(done.logs.stdout.join(''), 'first\nsecond\n')
    assert.equal(done.text, '3')
    assert.equal(done.error, undefined)
    const gap = clock.gap('first', 'second')
    assert.ok(gap >= SLEEP / 2, `the lines came ${gap} s apart: the output was held back`)

    assert.equal((await box.runCode('1 / 0')).error?.name, 'ZeroDivisionError')

    const ids = async () => (await box.listCodeContexts()).map((each) => each.id)
    const context = await box.createCodeContext({ cwd: '/tmp', language: 'python' })
    assert.ok((await ids()).includes(context.id))
    assert.equal((await box.runCode('x = 41', { context })).error, undefined)
    assert.equal((await box.runCode('x + 1', { context })).text, '42')
    await box.restartCodeContext(context)
    assert.equal((await box.runCode('x', { context })).error?.name, 'NameError')
    await box.removeCodeContext(context)
    assert.ok(!(await ids()).includes(context.id))
    await rejects(NotFoundError, box.restartCodeContext(context))

    // The same object is still a whole sandbox.
    assert.equal((await box.commands.run('echo hi')).stdout, 'hi\n')
  } finally {
    await box.kill()
  }
})
