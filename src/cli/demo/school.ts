import { type AppServer, type ServiceRequest, serve } from "../../sdk/index.ts";

/** How long the lesson takes: short, so that the demo is. */
export const LESSON_MS = 2200;

/**
 * An app server that charges nothing itself: its lesson is charged by time, and the relay measures the time (M12,
 * M13). It hangs up at the end.
 */
export function startSchool(): Promise<AppServer> {
  const teach = async (request: ServiceRequest) => {
    const session = await request.accept({ body: "Good morning! Today: the weather.", contentType: "text/plain" });
    const bell = setTimeout(() => void session.end(), LESSON_MS);
    await session.ended;
    clearTimeout(bell);
  };
  return serve({ listen: { host: "127.0.0.1", port: 0 }, services: { english: teach } });
}
