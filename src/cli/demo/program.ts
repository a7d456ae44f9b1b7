import type { Names } from "./ladder.ts";
import { changeService, moveAndKeep, moveOn, openTwoShops } from "./many-servers.ts";
import { takeLessonAtNodeThatDies } from "./node-killed.ts";
import { type Direction, type Measured, takeLesson, turnAway, visitWineShop } from "./scenes.ts";
import type { ServerId, Stage } from "./stage.ts";

/** A scene of the demo, with a ladder of its own. */
export interface Scene {
  readonly title: string;
  /** The scene's name in messages, when it fails. */
  readonly step: string;
  readonly columns: Names;
  /** The app servers of the columns. Any other app server is drawn in the first of these columns. */
  readonly second?: ServerId;
  play(stage: Stage, direction: Direction): Promise<Measured> | Promise<void>;
}

/** The last scene of `tollgate demo --cluster`. */
export const NODE_KILLED: Scene = {
  title: "8. Alice takes a Spanish lesson, and the node that has it is killed in the middle",
  step: "the lesson whose node is killed",
  columns: { client: "alice", relay: "two nodes", server: "school" },
  play: takeLessonAtNodeThatDies,
};

const ALICE = { client: "alice", relay: "relay" };

/** The scenes, in their order. */
export const PROGRAM: readonly Scene[] = [
  {
    title: "1. Alice shops for wine: charged for what she buys",
    step: "the visit to the wine shop",
    columns: { ...ALICE, server: "wine shop" },
    play: visitWineShop,
  },
  {
    title: "2. Alice takes an English lesson: charged by time",
    step: "the English lesson",
    columns: { ...ALICE, server: "school" },
    play: takeLesson,
  },
  {
    title: "3. A wrong password, then a service that nobody offers",
    step: "the requests that are refused",
    columns: { client: "client", relay: "relay", server: "app servers" },
    play: turnAway,
  },
  {
    title: "4. In one session wine becomes grappa at the same app server, then beer at another",
    step: "the change of service",
    columns: { ...ALICE, server: "wine shop", second: "brewery" },
    second: "brewery",
    play: changeService,
  },
  {
    title: "5. Alice moves on to the brewery: the first session ends",
    step: "the move",
    columns: { ...ALICE, server: "wine shop", second: "brewery" },
    second: "brewery",
    play: moveOn,
  },
  {
    title: "6. Alice moves on again, and the first session goes on beside the second",
    step: "the move with the first session kept",
    columns: { ...ALICE, server: "wine shop", second: "brewery" },
    second: "brewery",
    play: moveAndKeep,
  },
  {
    title: "7. Two book shops answer one INVITE: two sessions, two pages",
    step: "the two book shops",
    columns: { ...ALICE, server: "north", second: "south" },
    second: "south-books",
    play: openTwoShops,
  },
];
