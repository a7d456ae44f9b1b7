import type { BillLine } from "../call-model.ts";
import { duration } from "../format.ts";

/** Lines of a bill, as billing has entered them. */
export function BillTable({ lines }: { readonly lines: readonly BillLine[] }) {
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
          <tr key={line.id}>
            <td>{line.kind === "time" ? "time" : (line.item ?? line.kind)}</td>
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
