// Makes the replica set of ops/compose.cluster.yaml and its users, once, from the machine of its first member: MongoDB
// lets anybody do so only from there, and only as long as there is no user. Run again, it changes nothing.
const { readFileSync } = require("node:fs");
const secret = (name) => {
  const text = readFileSync(`/run/secrets/${name}`, "utf8").trim();
  if (text === "") throw new Error(`${name} is empty: see the head of ops/compose.yaml`);
  return text;
};
const members = ["mongo", "mongo-2", "mongo-3"].map((host, _id) => ({ _id, host: `${host}:27017` }));
try {
  rs.initiate({ _id: "rs0", members });
} catch (error) {
  if (error.codeName !== "AlreadyInitialized" && error.codeName !== "Unauthorized") throw error;
}
for (let tries = 0; !db.hello().isWritablePrimary; tries++) {
  if (tries === 120) throw new Error("this server has not become the primary in a minute: see rs.status() at each");
  sleep(500);
}
const admin = db.getSiblingDB("admin");
const root = { user: "root", pwd: secret("mongodb-root-password") };
try {
  admin.createUser({ ...root, roles: ["root"] });
} catch (error) {
  if (error.codeName !== "Unauthorized" && !/already exists/.test(error.message)) throw error;
}
admin.auth(root.user, root.pwd);
const own = db.getSiblingDB("tollgate");
if (own.getUser("tollgate") === null)
  own.createUser({ user: "tollgate", pwd: secret("mongodb-password"), roles: [{ role: "readWrite", db: "tollgate" }] });
print("the replica set is there");
