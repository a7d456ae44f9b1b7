import { keyOperations } from "./app-server-keys.ts";
import { listAudit } from "./audit.ts";
import { billOperations } from "./bills.ts";
import { listCalls, showCall, showStory } from "./calls.ts";
import { consoleOperations } from "./console.ts";
import { correctBill } from "./correct.ts";
import { creditOperations } from "./credit.ts";
import { deadLetterOperations } from "./dead-letters.ts";
import { importOperations } from "./imports.ts";
import { listMachines } from "./machines.ts";
import type { AnyOperation } from "./operation.ts";
import { rebillMonth } from "./rebill.ts";
import { exportRecords } from "./records.ts";
import { registryOperations } from "./registries.ts";
import { running } from "./running.ts";
import { listTokens, revokeToken } from "./tokens.ts";
import { traceOperations } from "./traces.ts";
import { usageLetterOperations } from "./usage-letters.ts";
import { userOperations } from "./users.ts";

/** Every operation that is there by HTTP, in the order of the API's document. */
export const OPERATIONS: readonly AnyOperation[] = [
  ...running,
  listCalls,
  showCall,
  showStory,
  ...traceOperations,
  listMachines,
  ...consoleOperations,
  ...userOperations,
  ...registryOperations,
  ...keyOperations,
  ...billOperations,
  correctBill,
  ...creditOperations,
  rebillMonth,
  exportRecords,
  ...usageLetterOperations,
  ...importOperations,
  ...deadLetterOperations,
  listTokens,
  revokeToken,
  listAudit,
];
