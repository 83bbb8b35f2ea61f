export * from "./grammar.ts"
export * from "./table.ts"
