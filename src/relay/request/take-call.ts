import { SERVICE_HEADER } from "../../charging/charges/header-names.ts";
import type { AppServer, Identified, User } from "../../directory/types.ts";
import type { Binding } from "../../registrar/binding.ts";
import { readGruu } from "../../registrar/gruu.ts";
import type { SipRequest } from "../../sip/message.ts";
import type { NewRequest, ServerTransaction } from "../../transaction/types.ts";
import { contactProblem } from "../dialog/contact.ts";
import { reply } from "../dialog/reply.ts";
import { whenAppServer } from "../leg/sign-in.ts";
import type { Core } from "../model/core.ts";
import { recordOf } from "../model/records.ts";
import { ClientRequest } from "./request.ts";

/*
 * An app server calls a client: INVITE sip:alice@portal.example, with the service in whose name it calls in
 * Tollgate-Service. It signs in with its key. The client pays as if it had called itself, so the service must allow it
 * (`callsClients`), and nothing is charged before the client answers.
 */

const HEADER = SERVICE_HEADER.toLowerCase();

/**
 * Whether an INVITE outside of dialogs is an app server's. Whom it calls does not matter for that, or the challenge
 * would tell who is a user. A client may write the header, too: what asks for a service is a client's request all the
 * same, unless the service that it names may call clients.
 */
export function isCallToClient({ directory }: Core, request: SipRequest): boolean {
  const named = request.headers.get(HEADER);
  if (named === undefined) return false;
  return directory.service(named.trim())?.callsClients === true || !directory.identify(request).ok;
}

/** Takes such an INVITE. */
export function takeCall(core: Core, transaction: NewRequest): void {
  whenAppServer(core, transaction, (id) => {
    const refuse = (status: number, why: string) => {
      recordOf(transaction)?.because(why);
      core.counters.rejected++;
      reply(transaction, status);
    };
    const { request, flow } = transaction;
    const problem = contactProblem(request, flow, true, request.headers.has("record-route"));
    if (problem !== undefined) {
      reply(transaction, 400, [], problem);
      return;
    }
    const service = core.directory.service(request.headers.get(HEADER)?.trim() ?? "");
    const appServer = core.directory.appServer(id);
    if (!service || !appServer?.services.includes(service.id)) {
      refuse(403, "the app server does not offer the service that it names");
      return;
    }
    if (service.callsClients !== true) {
      refuse(403, "the service may not call clients: callsClients is not set");
      return;
    }
    const tariff = service.tariff === undefined ? undefined : core.directory.tariff(service.tariff);
    if (service.tariff !== undefined && !tariff) {
      refuse(500, `there is no tariff ${service.tariff}`);
      return;
    }
    const called = calledBy(core, transaction);
    if (!called || called.user.blocked) {
      refuse(404, called ? "the user is blocked" : "there is no such user");
      return;
    }
    if (called.targets.length === 0) {
      refuse(480, "the user has registered no device"); // RFC 3261 §16.5
      return;
    }
    const nothing = {};
    const identified: Identified = {
      service,
      attributes: nothing,
      client: nothing,
      fork: "sequential",
      ...(tariff && { tariff }),
    };
    const calls = { appServer: appServer satisfies AppServer, identified, targets: called.targets };
    new ClientRequest(core, transaction, { verdict: "accepted", user: called.user.id }, { calls }).start();
  });
}

/** Whom the Request-URI names, and which of the devices. */
function calledBy(
  { directory, bindings, clock, authenticator }: Core,
  { request }: ServerTransaction,
): { readonly user: User; readonly targets: readonly Binding[] } | undefined {
  const uri = request.target;
  if (!uri || uri.scheme === "other" || !directory.isPortal(uri.host)) return undefined;
  const now = clock.monotonic();
  const gruu = readGruu(uri);
  if (gruu && "token" in gruu) {
    const named = bindings.named(gruu.token, now);
    const user = named && directory.user(named.user);
    const isOfDevice = ({ instance }: Binding) => instance === named?.instance;
    return user && { user, targets: bindings.of(user.id, now).filter(isOfDevice) };
  }
  const user = directory.user(authenticator.idIn(uri));
  if (!user) return undefined;
  const all = bindings.of(user.id, now);
  return { user, targets: gruu ? all.filter(({ instance }) => instance === gruu.instance) : all };
}
