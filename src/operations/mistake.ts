/** `usage`: the input cannot be; `unknown`: there is no such thing; `refused`: it cannot be done as things stand. */
export type Mistake = "usage" | "unknown" | "refused";

/** Ends an operation with what is wrong. `field` names the input's field; `hint` is what to do at the command line. */
export class OperationError extends Error {
  readonly mistake: Mistake;
  readonly field: string | undefined;
  readonly hint: string | undefined;

  constructor(mistake: Mistake, message: string, more: { readonly field?: string; readonly hint?: string } = {}) {
    super(message);
    this.mistake = mistake;
    this.field = more.field;
    this.hint = more.hint;
  }
}

/** The message with the name of its field in front of it. */
export const mistakeText = ({ field, message }: OperationError): string =>
  field === undefined ? message : `${field}: ${message}`;
