// A terminal: what is typed is echoed, it can be resized, and killed.

import assert from 'node:assert/strict'
import { e2b, options, run, signal } from './harness.mjs'

const { Sandbox } = e2b

await run(async () => {
  const box = await Sandbox.create(options({ timeoutMs: 120_000 }))
  try {
    let shown = ''
    const echoed = signal('the echo of what was typed')
    const terminal = await box.pty.create({
      cols: 80,
      rows: 24,
      timeoutMs: 60_000,
      onData: (data) => {
        shown += new TextDecoder().decode(data)
        if (shown.includes('typed-here')) echoed.settle()
      },
    })
    assert.ok(terminal.pid > 0)
    await box.pty.resize(terminal.pid, { cols: 120, rows: 40 })
    await box.pty.sendInput(terminal.pid, new TextEncoder().encode('echo typed-here\n'))
    await echoed.promise
    const ended = terminal.wait().catch(() => 'killed')
    assert.equal(await box.pty.kill(terminal.pid), true)
    await ended
    assert.equal(await box.pty.kill(terminal.pid), false)
  } finally {
    await box.kill()
  }
})
