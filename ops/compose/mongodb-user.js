// MongoDB's image runs this once, as root, when there is no database yet. It makes the user by which Tollgate signs in.
// That user may read and write its own database, indexes included, and nothing else.
const { readFileSync } = require("node:fs");

const pwd = readFileSync("/run/secrets/mongodb-password", "utf8").trim();
if (pwd === "") throw new Error("MONGODB_PASSWORD is empty: see the head of ops/compose.yaml");
db.getSiblingDB("tollgate").createUser({ user: "tollgate", pwd, roles: [{ role: "readWrite", db: "tollgate" }] });
