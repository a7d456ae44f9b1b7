import cluster from "node:cluster";

/**
 * Whether this Node can have several processes listen on one address, each with a socket of its own (SO_REUSEPORT; Node
 * 22.12 and 23.1 on, and not on every system). The kernel then keeps what comes from one address at one process.
 */
function canReusePort(): boolean {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  const isNew = major > 23 || (major === 23 && minor >= 1) || (major === 22 && minor >= 12);
  return isNew && ["linux", "freebsd", "sunos", "aix"].includes(process.platform);
}

/**
 * How SIP's sockets are opened. The processes of `tollgate start --processes` share the listening addresses: by
 * SO_REUSEPORT, else node:cluster gives all of them the same UDP socket, and hands TCP connections out in turn.
 * Whatever else listens must say `exclusive`, or it would be shared too.
 */
export const SHARED_PORT: { readonly reusePort?: true } = cluster.isWorker && canReusePort() ? { reusePort: true } : {};

/** For people: how the addresses are shared. */
export const howShared = (): string => (canReusePort() ? "SO_REUSEPORT" : "a shared socket");
