/*
 * What the URL of MongoDB may say. It may hold options of the driver, and some of them would break what Tollgate
 * promises: that everything it has answered is on the disks of most servers, and that it talks to the right server.
 */

interface Rule {
  /** In lower case, in which names of options are compared. */
  readonly names: readonly string[];
  readonly allows: (value: string) => boolean;
  readonly instead: string;
}

const is =
  (...values: readonly string[]) =>
  (value: string) =>
    values.includes(value.toLowerCase());
const never = () => false;

const RULES: readonly Rule[] = [
  { names: ["w"], allows: is("majority"), instead: "writes are confirmed by most servers (w=majority)" },
  { names: ["journal", "j", "fsync"], allows: is("true"), instead: "writes are confirmed when they are on disk" },
  { names: ["readconcernlevel"], allows: is("majority"), instead: "what is read must not be rolled back (majority)" },
  { names: ["readpreference"], allows: is("primary"), instead: "reads go to the primary" },
  { names: ["readpreferencetags", "maxstalenessseconds"], allows: never, instead: "reads go to the primary" },
  { names: ["retrywrites", "retryreads"], allows: is("true"), instead: "what an election interrupts is done again" },
  {
    names: ["tlsinsecure", "tlsallowinvalidcertificates", "tlsallowinvalidhostnames"],
    allows: is("false"),
    instead: "the server must show who it is: name what signed its certificate in store.tls.ca",
  },
  { names: ["sslvalidate", "checkserveridentity"], allows: is("true"), instead: "the server must show who it is" },
  {
    names: [
      "timeoutms",
      "wtimeout",
      "wtimeoutms",
      "sockettimeoutms",
      "connecttimeoutms",
      "serverselectiontimeoutms",
      "waitqueuetimeoutms",
    ],
    allows: never,
    instead: "store.timeoutS says how long to wait",
  },
];

interface Option {
  readonly name: string;
  readonly value: string;
}

/**
 * The options of a URL by their names in lower case. If a name comes again, also in other case, the first one counts,
 * as it does for the driver.
 */
export function optionsOf(url: string): Map<string, Option> {
  const options = new Map<string, Option>();
  const query = /^[^?]*\?(.*)$/s.exec(url)?.[1] ?? "";
  for (const [name, value] of new URLSearchParams(query)) {
    const key = name.toLowerCase();
    if (!options.has(key)) options.set(key, { name, value });
  }
  return options;
}

/** The options in a URL that break a promise, each with what to do; never with a password. `tls`: store.tls is set. */
export function weaknesses(url: string, tls = false): string[] {
  const options = optionsOf(url);
  const found: string[] = [];
  for (const { names, allows, instead } of RULES) {
    for (const one of names) {
      const option = options.get(one);
      if (option && !allows(option.value)) found.push(`without ${option.name}=${option.value}: ${instead}`);
    }
  }
  for (const one of tls ? ["tls", "ssl"] : []) {
    const option = options.get(one);
    if (option && !is("true")(option.value)) found.push(`without ${option.name}=${option.value}: store.tls is set`);
  }
  return found;
}
