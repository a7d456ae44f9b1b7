import { type AppServer, type ServiceRequest, serve } from "../../sdk/index.ts";

/** How long the lesson takes: short, so that the demo is. */
export const LESSON_MS = 2200;

/** What the Spanish lesson charges by the item: one at its beginning, one at its end. */
export const SPANISH_ITEMS = [
  { id: "workbook", item: "Workbook", unitPrice: "3.00", currency: "EUR" },
  { id: "exam", item: "Exam", unitPrice: "5.00", currency: "EUR" },
] as const;

export interface School {
  readonly sip: AppServer;
  /** Ends the Spanish lesson. */
  ringBell(): void;
}

/**
 * An app server whose lessons are charged by time, and the relay measures the time (M12, M13). It hangs up at the end:
 * of an English one when its time is over, of a Spanish one when the bell rings.
 */
export async function startSchool(): Promise<School> {
  const english = async (request: ServiceRequest) => {
    const session = await request.accept({ body: "Good morning! Today: the weather.", contentType: "text/plain" });
    const bell = setTimeout(() => void session.end(), LESSON_MS);
    await session.ended;
    clearTimeout(bell);
  };
  let ringBell!: () => void;
  const rings = new Promise<void>((resolve) => {
    ringBell = resolve;
  });
  const spanish = async (request: ServiceRequest) => {
    const session = await request.accept();
    const [workbook, exam] = SPANISH_ITEMS;
    await session.charge(workbook);
    await rings;
    await session.charge(exam);
    await session.end();
  };
  const sip = await serve({ listen: { host: "127.0.0.1", port: 0 }, services: { english, spanish } });
  return { sip, ringBell };
}
