const WHY: Readonly<Record<string, string>> = {
  EADDRINUSE: "another process has this address and port",
  EADDRNOTAVAIL: "this machine has no such address",
  EACCES: "this user may not take this port (below 1024 it needs a capability, as in the unit for systemd)",
};

/** Says which listener could not be opened, such as `udp:127.0.0.1:5060`, and why. */
export function listenError(listener: string, error: unknown): Error {
  const { code = "", message } = error as NodeJS.ErrnoException;
  const why = WHY[code];
  return new Error(`cannot listen on ${listener}: ${why === undefined ? message : `${why} (${code})`}`, {
    cause: error,
  });
}
