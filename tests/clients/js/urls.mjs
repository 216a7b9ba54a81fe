// Signed file addresses, made by the SDK and fetched by a client that has nothing else. Needs the domain mode: an
// address made under E2B_SANDBOX_URL names no sandbox.

import assert from 'node:assert/strict'
import { e2b, fetchPlain, multipart, need, options, run } from './harness.mjs'

const { Sandbox } = e2b
const PATH = '/home/user/a b+c é.txt'
const OTHER = '/home/user/other.txt'

/** The same address with some of its query exchanged. */
function changed(address, replace) {
  const url = new URL(address)
  for (const [name, value] of Object.entries(replace)) url.searchParams.set(name, value)
  return url.href
}

await run(async () => {
  need('E2B_DOMAIN')
  const box = await Sandbox.create(options({ timeoutMs: 120_000 }))
  const neighbour = await Sandbox.create(options({ timeoutMs: 120_000 }))
  try {
    for (const each of [box, neighbour]) {
      await each.files.write(PATH, `of ${each.sandboxId}`)
      await each.files.write(OTHER, 'other')
    }
    const mine = `of ${box.sandboxId}`

    for (const url of [
      await box.downloadUrl(PATH),
      await box.downloadUrl(PATH, { user: 'root' }),
      await box.downloadUrl(PATH, { useSignatureExpiration: 60 }),
    ]) {
      assert.ok(!url.includes(box.envdAccessToken), 'the address shows the token')
      assert.deepEqual(await fetchPlain(url), [200, mine])
    }

    let count = 0
    for (const url of [await box.uploadUrl(OTHER), await box.uploadUrl(OTHER, { useSignatureExpiration: 60 })]) {
      count += 1
      const [status, body] = await fetchPlain(url, multipart(`uploaded ${count}`, 'other.txt'))
      assert.equal(status, 200, body)
      assert.equal(await box.files.read(OTHER), `uploaded ${count}`)
    }

    const good = await box.downloadUrl(PATH, { useSignatureExpiration: 60 })
    const query = new URL(good).searchParams
    const signature = query.get('signature')
    const flipped = signature.slice(0, -1) + (signature.endsWith('A') ? 'B' : 'A')
    const refused = {
      'another signature': changed(good, { signature: flipped }),
      'no signature to speak of': changed(good, { signature: '' }),
      'another path': changed(good, { path: OTHER }),
      'a later end': changed(good, { signature_expiration: String(Number(query.get('signature_expiration')) + 3600) }),
      'past its end': await box.downloadUrl(PATH, { useSignatureExpiration: -60 }),
      'made for uploads': await box.uploadUrl(PATH),
    }
    for (const [why, url] of Object.entries(refused)) {
      const [status, body] = await fetchPlain(url)
      assert.equal(status, 401, `${why}: ${status} ${body}`)
      assert.ok(!body.includes(mine), why)
    }
    const [status, answer] = await fetchPlain(good, multipart('overwritten', 'a.txt'))
    assert.equal(status, 401, `a download address was good for an upload: ${status} ${answer}`)

    const [crossed, body] = await fetchPlain(good.replace(box.sandboxId, neighbour.sandboxId))
    assert.ok([401, 404].includes(crossed), `another sandbox's file was served: ${crossed} ${body}`)
    assert.equal(await box.files.read(PATH), mine, 'the file was changed')
  } finally {
    await box.kill()
    await neighbour.kill()
  }
})
