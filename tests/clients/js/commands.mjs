// Commands: streamed output, exit codes, background processes, standard input, environment, directory, user.

import assert from 'node:assert/strict'
import { Clock, e2b, options, rejects, run, signal } from './harness.mjs'

const { Sandbox, CommandExitError, NotFoundError } = e2b
const SLEEP = 0.8

/** Two lines with a sleep between them must not arrive together. */
async function streams(box) {
  const clock = new Clock()
  const result = await box.commands.run(
    `echo first; sleep ${SLEEP}; echo second; sleep ${SLEEP}; echo third >&2`,
    { onStdout: clock.note, onStderr: clock.note },
  )
  assert.deepEqual([result.exitCode, result.stdout, result.stderr], [0, 'first\nsecond\n', 'third\n'])
  for (const [one, two] of [['first', 'second'], ['second', 'third']]) {
    const gap = clock.gap(one, two)
    assert.ok(gap >= SLEEP / 2, `${one} and ${two} came ${gap} s apart: the output was held back`)
  }
}

/** A process that outlives the call which started it. */
async function background(box) {
  const handle = await box.commands.run('sleep 60', { background: true })
  assert.ok((await box.commands.list()).some((process) => process.pid === handle.pid))
  const joined = await box.commands.connect(handle.pid)
  assert.equal(joined.pid, handle.pid)
  const ends = [handle, joined].map((each) => rejects(CommandExitError, each.wait()))
  assert.equal(await box.commands.kill(handle.pid), true)
  for (const killed of await Promise.all(ends)) {
    assert.notEqual(killed.exitCode, 0)
  }
  assert.ok(!(await box.commands.list()).some((process) => process.pid === handle.pid))
  assert.equal(await box.commands.kill(handle.pid), false)
}

/** What is typed comes back from `cat`, while it is still running. */
async function stdin(box) {
  const cameBack = signal('the echo of what was typed')
  const handle = await box.commands.run('cat', { background: true, stdin: true, onStdout: cameBack.settle })
  await box.commands.sendStdin(handle.pid, 'typed é\n')
  await cameBack.promise
  await box.commands.closeStdin(handle.pid)
  assert.equal((await handle.wait()).stdout, 'typed é\n')
}

/** Thirty commands at once, each with its own answer. */
async function many(box) {
  const results = await Promise.all(Array.from({ length: 30 }, (_, count) => box.commands.run(`echo number ${count}`)))
  assert.deepEqual(results.map((result) => result.stdout), results.map((_, count) => `number ${count}\n`))
}

await run(async () => {
  const box = await Sandbox.create(options({ timeoutMs: 120_000 }))
  try {
    await streams(box)

    const failed = await rejects(CommandExitError, box.commands.run('echo bad >&2; exit 7'))
    assert.deepEqual([failed.exitCode, failed.stderr], [7, 'bad\n'])

    await background(box)
    await stdin(box)
    await many(box)

    assert.equal((await box.commands.run('echo "$COLOUR"', { envs: { COLOUR: 'dark red' } })).stdout, 'dark red\n')
    assert.equal((await box.commands.run('pwd', { cwd: '/tmp' })).stdout, '/tmp\n')
    // The user travels as Basic authorization, which must reach envd untouched.
    assert.equal((await box.commands.run('echo ok', { user: 'root' })).stdout, 'ok\n')
    await rejects(NotFoundError, box.commands.connect(999_999))
  } finally {
    await box.kill()
  }
})
