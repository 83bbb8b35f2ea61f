/**
 * Evaluates the CEL of admission policies. The evaluator knows no message types: `Object.spec.volumes{name: "x"}`, which for
 * Kubernetes is a map with a checked name, becomes a map that carries its name, and the name is checked afterwards.
 */
import { Environment } from "@marcbachmann/cel-js"

export interface Policy {
  readonly spec: {
    readonly matchConditions?: ReadonlyArray<{ readonly name: string; readonly expression: string }>
    readonly variables?: ReadonlyArray<{ readonly name: string; readonly expression: string }>
    readonly validations?: ReadonlyArray<{ readonly expression: string; readonly message: string }>
    readonly mutations?: ReadonlyArray<{ readonly jsonPatch: { readonly expression: string } }>
  }
}

/** What every expression of a policy sees. Variables refer to those before them. */
export const contextOf = (policy: Policy, object: unknown, params: unknown) => {
  const variables: Record<string, unknown> = {}
  for (const { name, expression } of policy.spec.variables ?? []) {
    // The API server compiles variables without these types.
    if (/\b(Object|JSONPatch)\b[\w.]*\{/.test(expression)) throw new Error(`variable ${name} builds an object`)
    variables[name] = raw(expression, { object, params, variables })
  }
  return { object, params, variables }
}

export const matches = (policy: Policy, object: unknown, params: unknown): boolean =>
  (policy.spec.matchConditions ?? []).every(({ expression }) => evaluate(expression, { object, params }) === true)

/** As JSON. */
export const evaluate = (expression: string, context: Record<string, unknown>): unknown =>
  checked(raw(expression, context))

const raw = (expression: string, context: Record<string, unknown>): unknown => {
  const plain = untyped(expression)
  return (plain === expression ? strict : lenient).evaluate(plain, context)
}

/** As the API server: the elements of a list have one type, and a text is not what is only known to be one. */
const strict = new Environment({ unlistedVariablesAreDyn: true })
/** The maps that stand for messages have fields of many types. */
const lenient = new Environment({ unlistedVariablesAreDyn: true, homogeneousAggregateLiterals: false })

const typeKey = "$type"

/** `T{a: 1}` to `{"$type": "T", "a": 1}`. */
const untyped = (expression: string): string => {
  const braces: Array<"message" | "other"> = []
  const token = /'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|(?:Object|JSONPatch)(?:\.\w+)*\{|[{}()[\],]|\w+(?=:)|[\s\S]/g
  return [...expression.matchAll(token)]
    .map(([text], index, all) => {
      if (/^(Object|JSONPatch)/.test(text) && text.endsWith("{")) {
        braces.push("message")
        return `{"${typeKey}": "${text.slice(0, -1)}", `
      }
      if (/^[{([]$/.test(text)) braces.push("other")
      if (/^[})\]]$/.test(text)) braces.pop()
      const before = all.slice(0, index).findLast(([text]) => text.trim() !== "")?.[0] ?? ""
      const isField = /^\w+$/.test(text) && braces.at(-1) === "message" && /[{,]$/.test(before)
      return isField ? `"${text}"` : text
    })
    .join("")
}

/** A message in a field has the name of its parent's and the field, as the API server wants. */
const checked = (value: unknown, name?: string): unknown => {
  if (typeof value === "bigint") return Number(value)
  if (Array.isArray(value)) return value.map((item) => checked(item, name))
  if (typeof value !== "object" || value === null) return value
  const { [typeKey]: type, ...fields } = value as Record<string, unknown>
  if (type !== undefined && name !== undefined && type !== name) throw new Error(`${type} stands where ${name} belongs`)
  const own = type === "JSONPatch" ? undefined : (type as string | undefined)
  return Object.fromEntries(
    Object.entries(fields).map(([key, item]) => [key, checked(item, own === undefined ? undefined : `${own}.${key}`)]),
  )
}
