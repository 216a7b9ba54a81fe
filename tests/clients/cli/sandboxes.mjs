// What the client does with sandboxes, as far as each version goes: 2.4.2 knows neither `create --detach` nor `info`,
// `pause`, `resume` and `exec`. A key with scope exec is enough for all of it. What follows the id after `exec` is the command, but
// 2.10.3 still looks for its own options there.

import assert from 'node:assert/strict'
import { VERSION, admin, cli, ended, need, run } from './harness.mjs'

const credentials = { key: need('EXEC_KEY') }
const e2b = (...words) => cli(credentials, ...words)

async function ids() {
  return (await admin('GET', '/v2/sandboxes')).map((each) => each.sandboxID)
}

await run('sandboxes', async () => {
  const marked = { templateID: 'base', timeout: 300, metadata: { from: 'script' } }
  const { sandboxID } = await admin('POST', '/v2/sandboxes', marked)

  const listed = await e2b('sandbox', 'list', '--format', 'json')
  assert.equal(listed.code, 0, listed.text)
  const mine = JSON.parse(listed.text).filter((each) => each.sandboxId === sandboxID)
  assert.deepEqual(mine.map((each) => each.metadata), [{ from: 'script' }], listed.text)
  ended('list by metadata', await e2b('sandbox', 'list', '--metadata', 'from=nobody'), 0, /No sandboxes found/i)

  ended('logs', await e2b('sandbox', 'logs', sandboxID), 0, new RegExp(sandboxID))
  ended('metrics', await e2b('sandbox', 'metrics', sandboxID), 0, new RegExp(sandboxID))

  if (VERSION !== '2.4.2') {
    ended('info', await e2b('sandbox', 'info', sandboxID), 0, new RegExp(sandboxID))
    ended('exec', await e2b('sandbox', 'exec', sandboxID, 'echo', 'from the sandbox'), 0, /^from the sandbox$/m)
    const failed = await e2b('sandbox', 'exec', sandboxID, 'exit', '3')
    assert.equal(failed.code, 3, failed.text)
    ended('pause', await e2b('sandbox', 'pause', sandboxID), 0, /paused/i)
    assert.equal((await admin('GET', `/sandboxes/${sandboxID}`)).state, 'paused')
    ended('resume', await e2b('sandbox', 'resume', sandboxID), 0, /resumed/i)
    assert.equal((await admin('GET', `/sandboxes/${sandboxID}`)).state, 'running')

    const known = await ids()
    const created = await e2b('sandbox', 'create', '--detach', 'base')
    const [other] = (await ids()).filter((each) => !known.includes(each))
    assert.ok(created.code === 0 && other, created.text)
    assert.match(created.text, new RegExp(other))
    ended('kill', await e2b('sandbox', 'kill', other), 0, new RegExp(other))
  }

  ended('kill', await e2b('sandbox', 'kill', sandboxID), 0, new RegExp(sandboxID))
  assert.ok(!(await ids()).includes(sandboxID), 'the sandbox is still there')
  ended('kill again', await e2b('sandbox', 'kill', sandboxID), 0, /(not found|wasn't found)/i)
})
