import { describe, expect, test } from "bun:test"
import { type Answer, decode, encode } from "dns-packet"
import { Cache } from "../../../src/network/dns/cache.ts"
import {
  aged,
  answers,
  askingForValidation,
  failure,
  fitting,
  isTruncated,
  isValidated,
  lifetime,
  parseQuery,
  type Query,
  withId,
} from "../../../src/network/dns/message.ts"

const question = { name: "www.example.com", type: "A", class: "IN" }
const asking = (rest: object = {}) =>
  Uint8Array.from(encode({ type: "query", id: 4711, flags: 0x0100, questions: [question], ...rest }))
const answering = (records: ReadonlyArray<Answer>, rest: object = {}) =>
  Uint8Array.from(encode({ type: "response", id: 4711, questions: [question], answers: records, ...rest }))
const address = (ttl: number, data = "192.0.2.1"): Answer => ({ name: question.name, type: "A", ttl, data })
const soa = (ttl: number, minimum: number): Answer => ({
  name: "example.com",
  type: "SOA",
  ttl,
  data: { mname: "ns.example.com", rname: "a.example.com", serial: 1, refresh: 2, retry: 3, expire: 4, minimum },
})
const query = (bytes = asking()): Query => parseQuery(bytes)!
const nxdomain = 3
const read = (bytes: Uint8Array) => decode(Buffer.from(bytes))

describe("queries", () => {
  test("one question, with or without EDNS0", () => {
    expect(query()).toEqual({ id: 4711, ...question, udpSize: 512, dnssecOk: false, checkingDisabled: false })
    const edns = asking({ additionals: [{ type: "OPT", name: ".", udpPayloadSize: 1232, flags: 0x8000 }] })
    expect(query(edns)).toMatchObject({ udpSize: 1232, dnssecOk: true })
  })

  test("anything else is none: answers, updates, two questions, no message at all, every cut", () => {
    expect(parseQuery(answering([]))).toBeUndefined()
    expect(parseQuery(asking({ flags: 0x2800 }))).toBeUndefined()
    expect(parseQuery(asking({ questions: [question, question] }))).toBeUndefined()
    expect(parseQuery(new Uint8Array(600).fill(0xff))).toBeUndefined()
    const whole = asking()
    for (let length = 0; length < whole.length; length++) expect(parseQuery(whole.slice(0, length))).toBeUndefined()
  })

  test("a failure repeats the question and says why", () => {
    const bytes = asking()
    expect(read(failure(bytes, query(bytes), "SERVFAIL"))).toMatchObject({
      id: 4711,
      type: "response",
      rcode: "SERVFAIL",
      questions: [question],
    } as object)
    expect(read(failure(new Uint8Array([1, 2, ...new Uint8Array(10)]), undefined, "FORMERR"))).toMatchObject({
      id: 0x0102,
      rcode: "FORMERR",
    } as object)
  })
})

describe("answers", () => {
  test("belong to a question by id, name, type and class", () => {
    const bytes = answering([address(60)])
    expect(answers(bytes, query(), 4711)).toBe(true)
    expect(answers(bytes, query(), 4712)).toBe(false)
    expect(answers(bytes, { ...query(), name: "WWW.example.COM" }, 4711)).toBe(true)
    expect(answers(bytes, { ...query(), name: "example.com" }, 4711)).toBe(false)
    expect(answers(bytes, { ...query(), type: "AAAA" }, 4711)).toBe(false)
    expect(answers(asking(), query(), 4711)).toBe(false)
    expect(read(withId(bytes, 1)).id).toBe(1)
  })

  test("too long ones are cut to a note that says so, by the asker's size", () => {
    const long = answering(Array.from({ length: 60 }, (_, index) => address(60, `192.0.2.${index}`)))
    const cut = fitting(long, query())
    expect(cut.length).toBeLessThanOrEqual(512)
    expect(isTruncated(cut)).toBe(true)
    expect(read(cut).questions).toEqual([question])
    expect(fitting(long, { ...query(), udpSize: 4096 })).toBe(long)
  })

  test("validation is asked for and seen", () => {
    expect(isValidated(askingForValidation(asking()))).toBe(true)
    expect(isValidated(answering([]))).toBe(false)
    expect(isValidated(answering([], { flags: 0x20 }))).toBe(true)
  })

  test("live as long as their shortest record; negative ones by their SOA; failures not at all", () => {
    expect(lifetime(answering([address(60), address(30)]))).toBe(30)
    expect(lifetime(answering([], { flags: nxdomain, authorities: [soa(900, 60)] }))).toBe(60)
    expect(lifetime(answering([], { authorities: [soa(20, 60)] }))).toBe(20)
    expect(lifetime(answering([], { flags: nxdomain }))).toBe(0)
    expect(lifetime(answering([address(60)], { flags: 2 }))).toBe(0)
    expect(lifetime(answering([address(60)], { flags: 0x0200 }))).toBe(0)
    // An OPT record has no TTL in the place of one.
    expect(lifetime(answering([address(60)], { additionals: [{ type: "OPT", name: "." }] }))).toBe(60)
    for (let length = 0; length < 60; length++) expect(lifetime(answering([address(60)]).slice(0, length))).toBe(0)
  })

  test("grow older without going below zero", () => {
    const older = read(aged(answering([address(60), address(5)]), 10))
    expect(older.answers?.map(({ ttl }) => ttl)).toEqual([50, 0])
  })
})

describe("the cache", () => {
  test("gives an answer until its time is over, with the time that it has left", () => {
    const cache = new Cache()
    cache.put(query(), answering([address(60)]), 1000)
    expect(read(cache.get(query(), 11_500)!).answers?.[0]?.ttl).toBe(50)
    expect(cache.get({ ...query(), name: "WWW.EXAMPLE.COM" }, 2000)).toBeDefined()
    expect(cache.get({ ...query(), type: "AAAA" }, 2000)).toBeUndefined()
    expect(cache.get({ ...query(), dnssecOk: true }, 2000)).toBeUndefined()
    expect(cache.get(query(), 61_000)).toBeUndefined()
  })

  test("is bounded: the oldest go first", () => {
    const cache = new Cache()
    const nth = (index: number) => ({ ...query(), name: `n${index}.example.com` })
    for (let index = 0; index < 2500; index++) cache.put(nth(index), answering([address(60)]), 0)
    expect(cache.get(nth(499), 1)).toBeUndefined()
    expect(cache.get(nth(500), 1)).toBeDefined()
    const large = answering(
      Array.from({ length: 500 }, (_, index) => address(60, `192.0.${index >> 8}.${index & 255}`)),
    )
    for (let index = 0; index < 200; index++) cache.put(nth(index), large, 0)
    expect(cache.get(nth(2499), 1)).toBeUndefined()
    expect(cache.get(nth(199), 1)).toBeDefined()
  })
})
