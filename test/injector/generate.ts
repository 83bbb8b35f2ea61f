/** Pods of every shape, most of which ask for the tunnel; some are such that they cannot have it. */
import type { PodObject } from "./cluster.ts"

export function generate(seed: number): PodObject {
  let state = (seed + 1) * 0x9e3779b1
  const below = (limit: number) => {
    state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x6d2b79f5
    state = Math.imul(state ^ (state >>> 12), 0x297a2d39)
    return ((state ^ (state >>> 15)) >>> 0) % limit
  }
  const sometimes = <A>(value: () => A, oneIn = 2): A | undefined => (below(oneIn) === 0 ? value() : undefined)
  const several = <A>(value: (index: number) => A): ReadonlyArray<A> =>
    Array.from({ length: below(4) }, (_, i) => value(i))
  const maybe = (fields: Record<string, unknown>) =>
    Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
  const word = () => ["a", "b~c", "d/e", "é", "0", "-", "constructor", ""][below(8)]!
  const container = (name: string) => ({
    name,
    ...maybe({
      image: sometimes(() => `image:${below(9)}`),
      restartPolicy: sometimes(() => "Always", 5),
      command: sometimes(() => several(word)),
      env: sometimes(() => several((i) => ({ name: `E${i}`, value: word() }))),
      ports: sometimes(() => several((i) => ({ containerPort: 4909 + i }))),
      securityContext: sometimes(() => ({
        privileged: below(2) === 0,
        capabilities: { add: several(() => "NET_ADMIN") },
      })),
      volumeMounts: sometimes(() => several((i) => ({ name: `v${i}`, mountPath: `/${word()}` }))),
    }),
  })
  const list = <A>(value: (index: number) => A) => [undefined, null, several(value)][below(3)]
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: maybe({
      name: sometimes(() => "pod"),
      generateName: sometimes(() => "pod-"),
      creationTimestamp: null,
      labels: { [word()]: word(), "culvert.dev/inject": ["true", "true", "true", "false", "yes"][below(5)] },
      annotations: sometimes(
        () =>
          maybe({
            "culvert.dev/config": sometimes(() => ["vpn", "secret/vpn", "Bad Name"][below(3)], 1),
            "culvert.dev/secret": sometimes(() => "login"),
            "culvert.dev/bypass": sometimes(() => ["10.0.0.0/8", "0.0.0.0/0"][below(2)], 6),
            [`x/${word()}`]: word(),
          }),
        1,
      ),
    }) as PodObject["metadata"],
    spec: {
      ...maybe({
        initContainers: list((i) => container(`i${i}`)),
        volumes: list((i) => ({ name: `v${i}`, emptyDir: {} })),
        hostNetwork: sometimes(() => below(4) === 0),
        securityContext: sometimes(() => ({ runAsNonRoot: true, fsGroup: 5 })),
        nodeSelector: sometimes(() => ({ "kubernetes.io/os": ["linux", "windows"][below(2)] }), 6),
        shareProcessNamespace: sometimes(() => true),
        tolerations: sometimes(() => several(() => ({ key: word() }))),
      }),
      containers: [container("app"), ...several((i) => container(`c${i}`))],
    },
  }
}
