import { expect, test } from "bun:test"
import { takeErrors } from "../../src/openssl/library.ts"
import { prepareOpenSsl } from "../../src/openssl/prepare.ts"

test("what is set up ahead leaves no error behind", () => {
  prepareOpenSsl()
  prepareOpenSsl()
  expect(takeErrors()).toEqual([])
})
