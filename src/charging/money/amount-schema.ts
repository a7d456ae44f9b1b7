import { z } from "zod";
import { AMOUNT_DIGITS } from "./money.ts";

/** Decimals of what an operator may write: prices of parts of a second have more than anybody pays. */
const DECIMALS = 9;

/** An amount as configuration and registry hold it: a decimal string of 0 or more. */
export const amountSchema = z
  .string()
  .regex(new RegExp(`^\\d{1,${AMOUNT_DIGITS}}(\\.\\d{1,${DECIMALS}})?$`), 'a decimal amount in quotes, such as "0.25"');
