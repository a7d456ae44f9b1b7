import type { BillLine } from "../call-model.ts";
import { duration } from "../format.ts";

/** When a line came on the bill: time is entered when it is over. */
const cameAt = ({ kind, at, durationMs = 0 }: BillLine): number => (kind === "time" ? at + durationMs : at);

/** Lines of a bill, as billing has entered them. Those that came after the `moment` are pale, and say so. */
export function BillTable(props: { readonly lines: readonly BillLine[]; readonly moment: number | undefined }) {
  const { moment = Number.POSITIVE_INFINITY } = props;
  const lines = [...props.lines].sort((a, b) => cameAt(a) - cameAt(b));
  if (lines.length === 0) return <p class="empty">Nothing is on the bill so far.</p>;
  return (
    <table class="bill" data-bill>
      <caption>On the bill</caption>
      <thead>
        <tr>
          <th scope="col">What</th>
          <th scope="col" class="number">
            How much
          </th>
          <th scope="col" class="number">
            Amount
          </th>
        </tr>
      </thead>
      <tbody>
        {lines.map((line) => (
          <tr key={line.id} class={cameAt(line) > moment ? "later" : undefined}>
            <td>
              {line.kind === "time" ? "time" : (line.item ?? line.kind)}
              {cameAt(line) > moment && <small>later</small>}
            </td>
            <td class="number">
              {line.kind === "time"
                ? duration(line.durationMs)
                : line.quantity
                  ? `${line.quantity} × ${line.unitPrice}`
                  : ""}
            </td>
            <td class="number">{line.currency ? `${line.amount} ${line.currency}` : "free"}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
