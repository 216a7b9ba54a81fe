// Which credential the client sends for what, and what becomes of it.
//
// As seen with a logging server: 2.19.0 sends E2B_API_KEY as X-API-Key and no longer reads E2B_ACCESS_TOKEN. 2.10.3 and
// 2.4.2 send the key as X-API-Key and the token as `Authorization: Bearer` on every request, both when both are set; but
// they refuse on their own, before any request, where the one they want is missing: the key for `sandbox list`, the
// token for `template list`, both for `template create`. No version checks anything before `template delete`.
//
// A refusal, local or by the server, is exit code 1; `template create` prints the server's message without a status.
// With both headers the gateway judges the Bearer alone: a stale token beside a good key is refused, as a good token
// beside a bad key is accepted.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { VERSION, admin, cli, ended, need, run } from './harness.mjs'

const KEYS = { admin: need('ADMIN_KEY'), read: need('READ_KEY'), wrong: need('WRONG_KEY'), none: undefined }

//   key      token    sandbox list, template list, delete, create
const KEY_ONLY = [
  ['admin', 'none', 'ok', 'ok', 'ok', 'ok'],
  ['none', 'admin', 'login', 'login', '401', 'login'],
  ['admin', 'admin', 'ok', 'ok', 'ok', 'ok'],
  ['admin', 'wrong', 'ok', 'ok', 'ok', 'ok'],
  ['wrong', 'admin', '401', '401', '401', '401'],
  ['read', 'admin', 'ok', 'ok', '403', '403'],
  ['none', 'none', 'login', 'login', '401', 'login'],
]
const KEY_AND_TOKEN = [
  ['admin', 'none', 'ok', 'login', 'ok', 'login'],
  ['none', 'admin', 'login', 'ok', 'ok', 'login'],
  ['admin', 'admin', 'ok', 'ok', 'ok', 'ok'],
  ['admin', 'wrong', '401', '401', '401', '401'],
  ['wrong', 'admin', 'ok', 'ok', 'ok', 'ok'],
  ['admin', 'read', 'ok', 'ok', '403', '403'],
  ['read', 'admin', 'ok', 'ok', 'ok', 'ok'],
  ['none', 'none', 'login', 'login', '401', 'login'],
]

const SAYS = {
  login: /You must be logged in/,
  401: /unauthorized/i,
  403: /API key lacks required scope: admin/,
}

// An existing name would be built anew, not made.
const suite = randomBytes(4).toString('hex')

/** Every template's id and names. */
async function templates() {
  return (await admin('GET', '/templates')).flatMap((each) => [each.templateID, ...(each.names ?? each.aliases)])
}

await run('credentials', async () => {
  const sandbox = await admin('POST', '/v2/sandboxes', { templateID: 'base', timeout: 300 })
  const rows = VERSION === 'newest' ? KEY_ONLY : KEY_AND_TOKEN
  for (const [number, [key, token, ...outcomes]] of rows.entries()) {
    const [listing, templateListing, deletion, creation] = outcomes
    const credentials = { key: KEYS[key], token: KEYS[token] }
    const who = `key ${key}, token ${token}`
    const { templateID } = await admin('POST', '/v3/templates', { name: `row-${number}-${suite}` })
    const expect = (what, result, outcome, shown) =>
      ended(`${what} with ${who}`, result, outcome === 'ok' ? 0 : 1, SAYS[outcome] ?? shown)

    expect('sandbox list', await cli(credentials, 'sandbox', 'list'), listing, new RegExp(sandbox.sandboxID))
    expect('template list', await cli(credentials, 'template', 'list'), templateListing, new RegExp(templateID))

    const deleting = await cli(credentials, 'template', 'delete', '-y', templateID)
    expect('template delete', deleting, deletion, /Deleting sandbox template/)
    assert.equal((await templates()).includes(templateID), deletion !== 'ok', `template delete with ${who}`)

    const name = `built-${number}-${suite}`
    const created = await cli(credentials, 'template', 'create', name)
    expect('template create', created, creation, /Template created with ID/)
    assert.equal((await templates()).includes(name), creation === 'ok', `template create with ${who}`)
  }
  await admin('DELETE', `/sandboxes/${sandbox.sandboxID}`)
})
