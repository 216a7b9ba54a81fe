// Who may do what: a read key, a key that nobody issued, and a sandbox's token used on another sandbox.

import assert from 'node:assert/strict'
import { e2b, forged, need, options, rejects, run, withToken } from './harness.mjs'

const { Sandbox, SandboxError, AuthenticationError } = e2b
const LACKS_EXEC = 'API key lacks required scope: exec'

await run(async () => {
  const read = options({ apiKey: need('READ_KEY') })
  const wrong = options({ apiKey: need('WRONG_KEY') })
  const box = await Sandbox.create(options({ timeoutMs: 120_000 }))
  const neighbour = await Sandbox.create(options({ timeoutMs: 120_000 }))
  try {
    // A read key sees, and can change nothing.
    const seen = await Sandbox.list({ ...read, limit: 100 }).nextItems()
    assert.ok(seen.some((entry) => entry.sandboxId === box.sandboxId))
    const info = await Sandbox.getFullInfo(box.sandboxId, read)
    assert.equal(info.sandboxId, box.sandboxId)
    assert.ok(!info.envdAccessToken, "a read key was told the sandbox's token")
    for (const call of [
      () => Sandbox.create(read),
      () => Sandbox.connect(box.sandboxId, read),
      () => Sandbox.kill(box.sandboxId, read),
      () => Sandbox.pause(box.sandboxId, read),
      () => Sandbox.setTimeout(box.sandboxId, 60_000, read),
    ]) {
      const error = await rejects(SandboxError, call(), LACKS_EXEC)
      assert.ok(error.message.includes('403'), error.message)
    }

    // A key that nobody issued is told so, whatever it asks for.
    await rejects(AuthenticationError, Sandbox.list(wrong).nextItems())
    await rejects(AuthenticationError, Sandbox.create(wrong))
    await rejects(AuthenticationError, Sandbox.kill(box.sandboxId, wrong))

    // One sandbox's token does not open another, and does not even say that it exists.
    await box.files.write('/home/user/secret.txt', 'secret')
    const intruder = withToken(Sandbox, box, neighbour.envdAccessToken)
    for (const call of [
      () => intruder.commands.run('echo got in'),
      () => intruder.commands.list(),
      () => intruder.files.read('/home/user/secret.txt'),
      () => intruder.files.write('/home/user/secret.txt', 'overwritten'),
      () => intruder.files.list('/home/user'),
    ]) {
      await rejects(SandboxError, call())
    }
    // The refusal comes while the body is still being sent, and must not be lost to a connection that is cut off.
    const upload = 'overwritten'.repeat(100_000)
    for (let count = 0; count < 5; count += 1) {
      await rejects(SandboxError, intruder.files.write('/home/user/secret.txt', upload))
    }
    assert.equal(await box.files.read('/home/user/secret.txt'), 'secret')

    // A token that nobody made: the streamed command raises the same class as any other call, with the reason.
    const stranger = withToken(Sandbox, box, forged(box.envdAccessToken))
    const streamed = await rejects(AuthenticationError, stranger.commands.run('echo got in'))
    const unary = await rejects(AuthenticationError, stranger.commands.list())
    await rejects(AuthenticationError, stranger.files.read('/home/user/secret.txt'))
    for (const error of [streamed, unary]) {
      assert.match(error.message, /sandbox token/, `the gateway's reason is lost: ${error.message}`)
    }
  } finally {
    await box.kill()
    await neighbour.kill()
  }
})
