/** The application of a pod, beside the sidecar: asks a service behind the VPN by its name, and is asked itself on port 8081. */
const [service = ""] = process.argv.slice(2)

const server = Bun.serve({ hostname: "::", port: 8081, fetch: () => new Response("application\n") })
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
