// Runs the cases of http-cache-tests against a cache and counts what passes, with the same count of
// the results that its package holds of others: cache-suite.mjs FOLDER_OF_THE_PACKAGE ADDRESS.
import fs from 'node:fs'
import path from 'node:path'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const [folder, address] = [path.resolve(process.argv[2]), process.argv[3]]
const load = file => import(pathToFileURL(path.join(folder, file)))
const fetch = createRequire(path.join(folder, 'package.json'))('node-fetch')

// The package is of 2021. RFC 9111 (2022) says the opposite of some cases, and the suite's own
// later versions have turned or mended them. They are asked as the RFC has them and counted apart:
// what the second response must be.
const isReused = request => { request.expected_type = 'cached' }
const isFailure = request => {
  delete request.expected_type
  request.expected_status = 502
  request.check_body = false
}
const turned = new Map([
  // Section 5.1: what is no number is ignored, of several the first counts.
  ...['nonnumeric', 'negative', 'float', 'prefix-twoline', 'dup-0', 'dup-0-twoline', 'dup-old']
    .map(name => [`age-parse-${name}`, isReused]),
  // The case asks an origin that hangs up for a counter in its answer; a failure has none.
  ...['must-revalidate', 'proxy-revalidate', 'no-cache', 's-maxage=2']
    .map(name => [`stale-close-${name}`, isFailure])
])
// Section 4.3.4: a 304 with another strong ETag must not update what is stored, so that the third
// response cannot come from there as the case has it.
const impossible = new Set(['304-etag-update-response-ETag'])
// `Surrogate-Control` gave way to `CDN-Cache-Control` (RFC 9213).
const obsolete = 'surrogate-control'

const suites = [...(await load('tests/index.mjs')).default]
suites.push((await load('tests/surrogate-control.mjs')).default)
const cases = suites.flatMap(suite => suite.tests.map(test => ({ ...test, suite: suite.id })))
  .filter(test => !test.browser_only)
for (const suite of suites) {
  for (const test of suite.tests) turned.get(test.id)?.(test.requests[1])
}

const { runTests, getResults } = await load('client/runner.mjs')
await runTests(suites, fetch, false, address)
const own = getResults()

function group (test) {
  if (test.suite === obsolete) return 'obsolete'
  if (turned.has(test.id)) return 'turned'
  return impossible.has(test.id) ? 'impossible' : test.kind || 'required'
}

function count (results, name) {
  const members = cases.filter(test => group(test) === name)
  return [members.filter(test => results[test.id] === true).length, members.length]
}

const kinds = ['required', 'optimal', 'check']
function line (name, results) {
  const counts = kinds.map(kind => count(results, kind).join('/').padStart(10))
  console.log(name.padEnd(28) + counts.join(''))
}
console.log(' '.repeat(28) + kinds.map(kind => kind.padStart(10)).join(''))
line('truststram', own)
for (const other of (await load('results/index.mjs')).default) {
  if (other.type !== 'rev-proxy') continue
  const results = JSON.parse(fs.readFileSync(path.join(folder, 'results', other.file)))
  line(`${other.name} ${other.version.split(/[-+]/)[0]}`, results)
}
const [asNow, ofNow] = count(own, 'turned')
console.log(`as RFC 9111 has them: ${asNow}/${ofNow}; not judged: ${impossible.size}; ` +
  `Surrogate-Control (obsolete): ${count(own, 'obsolete').join('/')}`)

const isDue = test => ['required', 'turned'].includes(group(test))
const failed = cases.filter(test => isDue(test) && own[test.id] !== true)
for (const test of failed) console.error(`failed: ${test.id}: ${JSON.stringify(own[test.id])}`)
if (process.env.CACHE_SUITE_VERBOSE) {
  for (const test of cases.filter(test => own[test.id] !== true)) {
    console.error(`${group(test).padEnd(10)} ${test.id}: ${JSON.stringify(own[test.id])}`)
  }
}
process.exit(failed.length ? 1 : 0)
