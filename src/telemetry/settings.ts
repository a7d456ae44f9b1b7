import { z } from "zod";
import { isOpen, isPostUrl } from "../support/http-urls.ts";

/** `telemetry:` of the configuration: where traces of requests are sent. Without `otlp` there are none. */
export const telemetrySchema = z
  .strictObject({
    otlp: z
      .string()
      .refine(isPostUrl, "the URL of an OTLP/HTTP receiver such as http://127.0.0.1:4318, without a user and a query")
      .exactOptional(),
    plain: z.boolean().default(false),
    headersFile: z.string().min(1).exactOptional(),
    sample: z.number().min(0).max(1).default(1),
    serviceName: z.string().min(1).max(100).default("tollgate"),
    queueMost: z.int().min(100).max(1_000_000).default(10_000),
    everyS: z.number().min(0.1).max(60).default(5),
    timeoutS: z.number().min(1).max(60).default(10),
  })
  .refine(({ otlp, plain }) => otlp === undefined || plain || !isOpen(otlp), {
    path: ["otlp"],
    message: "an https URL, since users and addresses go there (plain: true where something else keeps them secret)",
  });

export type TelemetrySettings = z.output<typeof telemetrySchema>;
