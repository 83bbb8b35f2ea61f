/**
 * The application of a pod, beside the sidecar: asks a service behind the VPN by its name, and is asked itself on port 8081. As a
 * Job it ends by itself, when somebody asks for /finish: with a status that tells its end from that of the sidecar.
 */
const [service = ""] = process.argv.slice(2)
const finished = 3

const server = Bun.serve({
  hostname: "::",
  port: 8081,
  fetch: ({ url }) => {
    if (url.endsWith("/finish")) setTimeout(() => process.exit(finished), 50)
    return new Response("application\n")
  },
})
process.on("SIGTERM", async () => {
  console.log("asked to stop")
  await server.stop(true)
  process.exit(0)
})
console.log("started")
for (let asked = 1; ; asked++) {
  try {
    const response = await fetch(service, { signal: AbortSignal.timeout(2000) })
    const { byteLength } = await response.arrayBuffer()
    console.log(`${asked}: ${byteLength} bytes as ${response.headers.get("x-client")}`)
  } catch (error) {
    console.log(`${asked}: failed: ${error}`)
  }
  await Bun.sleep(100)
}
