import { expect, test } from "bun:test"
import { fit, statusText } from "../../src/sidecar/index.ts"

const now = Date.UTC(2026, 2, 1, 12)

test("what the tunnel does, line by line, and nothing about what is not there", () => {
  const text = statusText(
    {
      phase: "connected",
      since: now - 3_725_000,
      remote: "udp://192.0.2.1:1194",
      cipher: "AES-256-GCM",
      keyId: 1,
      keySince: now - 125_000,
      counters: { tunWriteBytes: 1_240_000_000, tunReadBytes: 81_000, "drop:replay": 12, "drop:short": 0 },
      routes: ["route replace 10.77.0.0/16 dev tun0", "link set dev tun0 up"],
      checks: [{ name: "tunnel", ok: true, reason: "connected" }],
      lastError: "old",
    },
    now,
  )
  expect(text.split("\n")).toEqual([
    "phase        connected for 1 h 2 min",
    "remote       udp://192.0.2.1:1194",
    "cipher       AES-256-GCM",
    "key          number 1, 2 min 5 s old",
    "so far       0 attempts, 0 connections, 0 renegotiations",
    "received     1.2 GB",
    "sent         81.0 kB",
    "dropped      12 replay",
    "routes       10.77.0.0/16 dev tun0",
    "             link set dev tun0 up",
    "checks       + tunnel: connected",
  ])
})

test("a handover that is under way, else how the last one ended", () => {
  const lastHandover = { at: now - 65_000, ok: false, message: "the login was refused; the present connection stays" }
  const shown = (status: object) => /^handover .*/m.exec(statusText(status, now))?.[0]
  expect(shown({})).toBeUndefined()
  expect(shown({ lastHandover })).toBe(
    "handover     failed 1 min 5 s ago: the login was refused; the present connection stays",
  )
  expect(shown({ lastHandover, handover: { since: now - 3_000 } })).toBe("handover     under way for 3 s")
  expect(shown({ lastHandover: { at: now, ok: true, message: "udp://192.0.2.1:1194 has taken over" } })).toBe(
    "handover     0 s ago: udp://192.0.2.1:1194 has taken over",
  )
})

test("rates come from two answers, and a process that began anew has none below zero", () => {
  const at = (bytes: number) => ({ counters: { tunWriteBytes: bytes, tunReadBytes: 0 } })
  expect(statusText(at(3_000_000), now, { status: at(1_000_000), seconds: 2 })).toContain("3.0 MB, 8.0 Mbit/s")
  expect(statusText(at(10), now, { status: at(1_000_000), seconds: 2 })).toContain("10 B, 0 bit/s")
})

test("a server cannot write to the terminal", () => {
  const text = statusText({ timeline: [{ at: now, message: "server says \x1b[2J\u009b31m\r\nhello" }] }, now)
  expect(text).toContain("12:00:00 server says �[2J�31m��hello")
})

test("an answer of another version is shown as far as it goes", () => {
  expect(statusText({}, now)).toContain("phase        unknown")
})

test("a small terminal shows what it can, and says what it does not show", () => {
  const text = ["phase        connected for 1 h 2 min", "remote       udp://192.0.2.1:1194", "cipher", "tls"].join("\n")
  expect(fit(text, { columns: 80, rows: 5 })).toBe(text)
  expect(fit(text, { columns: 20, rows: 4 }).split("\n")).toEqual([
    "phase        connec…",
    "remote       udp://…",
    "… 2 more lines",
  ])
})
