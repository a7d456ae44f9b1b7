import type { Command } from "commander";
import { bearerToken, chargesRealm, newAppServerKey } from "../directory/app-server-keys.ts";
import { systemRandom } from "../support/random.ts";
import { readConfig, withStore } from "./context.ts";
import { CliError, type Io, table } from "./io.ts";

const MAX_KEYS = 20;

/**
 * `tollgate appserver key add|list|remove`: the keys by which app servers sign in to charge outside of a session's
 * dialog (M15, M17).
 */
export function addAppServerKeyCommands(appserver: Command, io: Io): void {
  const group = appserver.command("key").description("keys with which an app server charges by HTTPS or SIP MESSAGE");
  const load = (command: Command) => readConfig(io, command.optsWithGlobals().config);

  group
    .command("add")
    .description("make a key and show its secret, once; only hashes are kept")
    .argument("<id>", "id of the app server")
    .option("--no-md5", "keep no MD5 hash: SIP Digest then works with SHA-256 only")
    .option("--json", "as JSON")
    .addHelpText(
      "after",
      "\nExamples:\n  $ tollgate appserver key add shop\n  $ tollgate appserver key add shop --json",
    )
    .action(async (id: string, options: { md5: boolean; json?: boolean }, command: Command) => {
      const { config } = load(command);
      const portalRealm = config.portal.realm;
      await withStore(config, async (store) => {
        const known = config.appServers.some((one) => one.id === id) || (await store.appServers.get(id)) !== undefined;
        if (!known) throw new CliError(`no app server ${id}; see: tollgate appserver list`);
        const others = (await store.appServerKeys.list()).filter(({ appServer }) => appServer === id);
        if (others.length >= MAX_KEYS)
          throw new CliError(
            `app server ${id} has ${others.length} keys; remove one: tollgate appserver key remove KEY`,
          );
        const { key, secret } = newAppServerKey({
          appServer: id,
          portalRealm,
          md5: options.md5,
          now: Date.now(),
          random: systemRandom,
        });
        await store.appServerKeys.put(key);
        const shown = { key: key.id, secret, bearer: bearerToken(key.id, secret), realm: key.realm };
        if (options.json) io.out(`${JSON.stringify(shown)}\n`);
        else
          io.out(
            `key of app server ${id}; the secret is shown this once\n` +
              `  key     ${shown.key}\n  secret  ${shown.secret}\n` +
              `  HTTP    Authorization: Bearer ${shown.bearer}\n` +
              `  SIP     Digest, user ${shown.key}, password the secret, realm ${shown.realm}\n`,
          );
      });
    });

  group
    .command("list")
    .description("list the keys of every app server, or of one")
    .argument("[id]", "id of the app server")
    .option("--json", "as JSON")
    .action(async (id: string | undefined, options: { json?: boolean }, command: Command) => {
      const { config } = load(command);
      const realm = chargesRealm(config.portal.realm);
      const keys = await withStore(config, (store) => store.appServerKeys.list());
      const shown = keys
        .filter(({ appServer }) => id === undefined || appServer === id)
        .sort((a, b) => a.createdAt - b.createdAt)
        .map((key) => ({ key: key.id, appServer: key.appServer, createdAt: key.createdAt, realm: key.realm }));
      if (options.json) io.out(`${JSON.stringify(shown, null, 2)}\n`);
      else if (shown.length === 0) io.out("no keys; make one with: tollgate appserver key add ID\n");
      else
        io.out(
          table(
            ["KEY", "APP SERVER", "CREATED", "NOTE"],
            shown.map((one) => [
              one.key,
              one.appServer,
              new Date(one.createdAt).toISOString(),
              one.realm === realm ? "" : `HTTP only: for SIP the realm is now ${realm}`,
            ]),
          ),
        );
    });

  group
    .command("remove")
    .description("remove a key: it is refused within about a second")
    .argument("<key>", "the key's id, from tollgate appserver key list")
    .action(async (key: string, _options: unknown, command: Command) => {
      if (!(await withStore(load(command).config, (store) => store.appServerKeys.remove(key))))
        throw new CliError(`no key ${key}; see: tollgate appserver key list`);
      io.out(`key ${key} removed\n`);
    });
}
