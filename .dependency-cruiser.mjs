import { LAYERS } from "./layers.mjs";

const escaped = (room) => room.replaceAll(".", "\\.");
const pathOf = (room) => (room.endsWith(".ts") ? `^${escaped(room)}$` : `^${room}/`);
/** Files that are rooms of their own are not part of the folder in which they lie. */
const own = LAYERS.flat().filter((room) => room.endsWith(".ts"));
const within = (room) => own.filter((file) => file !== room && file.startsWith(`${room}/`)).map(pathOf);

const forbidden = LAYERS.flatMap((rooms, floor) =>
  rooms.map((room) => {
    const above = [...LAYERS.slice(0, floor).flat(), ...rooms.filter((other) => other !== room)];
    return {
      name: `${room} knows nothing of what stands above it`,
      severity: "error",
      from: { path: pathOf(room), pathNot: within(room) },
      to: { path: above.map(pathOf), pathNot: own.filter((file) => !above.includes(file)).map(pathOf) },
    };
  }),
);

export default {
  forbidden: [
    ...forbidden.filter(({ to }) => to.path.length > 0),
    { name: "no circle", severity: "error", from: {}, to: { circular: true } },
    {
      name: "each file has its place in layers.mjs",
      severity: "error",
      from: { path: "^(src|machines)/", pathNot: LAYERS.flat().map(pathOf) },
      to: {},
    },
  ],
  options: {
    parser: "swc",
    tsPreCompilationDeps: true,
    doNotFollow: { path: "node_modules" },
    includeOnly: "^(src|machines)/",
    exclude: { path: "\\.d\\.ts$" },
  },
};
