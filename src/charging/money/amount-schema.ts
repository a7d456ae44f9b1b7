import { z } from "zod";
import { AMOUNT_DIGITS } from "./money.ts";

/** How many decimals an operator may write: a price for a part of a second needs more decimals than money has. */
const DECIMALS = 9;

/** An amount in the configuration and the registry: a decimal string of 0 or more. */
export const amountSchema = z
  .string()
  .regex(new RegExp(`^\\d{1,${AMOUNT_DIGITS}}(\\.\\d{1,${DECIMALS}})?$`), 'a decimal amount in quotes, such as "0.25"');
