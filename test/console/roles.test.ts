import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { type Role, TOKEN_ROLES } from "../../src/operations/rights.ts";
import { ApiLab } from "./api-lab.ts";

/*
 * Who may do what, as a table: for each operation of the API's document the roles that may do it. `loopback` is whoever
 * asks from this machine without a token.
 */
const SEE = ["viewer", "operator", "biller", "loopback"];
const SEE_MONEY = ["operator", "biller", "loopback"];
const BILL = ["operator", "biller"];
const OPERATE = ["operator"];
const TABLE: Readonly<Record<string, readonly string[]>> = {
  whoAmI: [...SEE, "app-server"],
  showStatus: SEE,
  listSessions: SEE,
  removeSession: OPERATE,
  listRegistrations: SEE,
  removeRegistrations: OPERATE,
  listNodes: SEE,
  drainNode: OPERATE,
  listLockOuts: SEE,
  liftLockOuts: OPERATE,
  listCalls: SEE,
  showCall: SEE,
  showStory: SEE,
  watchCalls: SEE,
  showChartCounts: SEE,
  placeTestCall: OPERATE,
  listTraces: SEE,
  startTrace: OPERATE,
  stopTrace: OPERATE,
  dropTrace: OPERATE,
  exportTrace: OPERATE,
  sendTrace: OPERATE,
  showUsage: SEE,
  listMachines: SEE,
  listUsers: SEE,
  addUser: OPERATE,
  removeUser: OPERATE,
  blockUser: OPERATE,
  unblockUser: OPERATE,
  nameUser: OPERATE,
  numberUser: OPERATE,
  qrUser: OPERATE,
  limitUser: OPERATE,
  listServices: SEE,
  putService: OPERATE,
  removeService: OPERATE,
  listAppServers: SEE,
  putAppServer: OPERATE,
  removeAppServer: OPERATE,
  drainAppServer: OPERATE,
  resumeAppServer: OPERATE,
  listTariffs: SEE,
  putTariff: OPERATE,
  removeTariff: OPERATE,
  listAppServerKeys: SEE,
  addAppServerKey: OPERATE,
  removeAppServerKey: OPERATE,
  showBill: SEE_MONEY,
  exportBill: SEE_MONEY,
  showSettlement: SEE_MONEY,
  exportSettlement: SEE_MONEY,
  closeBills: BILL,
  correctBill: BILL,
  openCredit: BILL,
  showCredit: SEE_MONEY,
  topUpCredit: BILL,
  adjustCredit: BILL,
  rebillMonth: BILL,
  exportRecords: SEE_MONEY,
  listUsageLetters: SEE_MONEY,
  showUsageLetter: SEE_MONEY,
  resendUsage: BILL,
  dropUsageLetter: BILL,
  importUsers: OPERATE,
  importServices: OPERATE,
  importAppServers: OPERATE,
  importTariffs: OPERATE,
  listDeadLetters: SEE_MONEY,
  listRefusedCharges: SEE_MONEY,
  showDeadLetter: SEE_MONEY,
  repairDeadLetter: BILL,
  replayDeadLetter: BILL,
  dropDeadLetter: BILL,
  listTokens: OPERATE,
  revokeToken: OPERATE,
  listAudit: OPERATE,
};
/** Not operators' business. */
const OTHERS = new Set(["charge", "describe", "endSession", "changeSession", "moveSession"]);

interface Described {
  readonly operationId: string;
  readonly "x-least-role"?: string;
}

const document = parse(readFileSync("ops/openapi.yaml", "utf8")) as {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Described>>>>;
};
const described = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, { operationId }]) => ({ path, method: method.toUpperCase(), operationId })),
);

let lab: ApiLab;
const tokens = new Map<Role, string>();
beforeAll(async () => {
  lab = await ApiLab.create();
  for (const role of TOKEN_ROLES) tokens.set(role, await lab.token(role));
});
afterAll(() => lab.close());

describe("what a role may do by HTTP", () => {
  it("stands in a table, which has every operation of the API's document", () => {
    const ids = described.map(({ operationId }) => operationId).filter((id) => !OTHERS.has(id));
    expect(ids.sort()).toEqual(Object.keys(TABLE).sort());
  });

  for (const { path, method, operationId } of described.filter(({ operationId }) => !OTHERS.has(operationId)))
    it(`${operationId}: ${method} ${path}`, async () => {
      const url = path.replace(/\{\w+\}/g, "nobody-has-this");
      const body = method === "POST" || method === "PUT" ? {} : undefined;
      const allowed = TABLE[operationId]!;
      for (const role of [...TOKEN_ROLES, "loopback"] as const) {
        if (operationId === "watchCalls" && allowed.includes(role)) continue; // it does not end
        const { status, json } = await lab.ask(method, url, { token: tokens.get(role), body });
        const refused = role === "loopback" ? 401 : 403;
        if (allowed.includes(role)) expect([200, 404, 409, 422], `${role}: ${JSON.stringify(json)}`).toContain(status);
        else expect(status, role).toBe(refused);
      }
      const wrong = await lab.ask(method, url, { token: `a-viewer.${"0".repeat(64)}`, body });
      expect([401, 429]).toContain(wrong.status);
    });
});
